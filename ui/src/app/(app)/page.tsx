import { Dashboard } from "@/features/dashboard/Dashboard";
import { askAhead, ofProject } from "@/lib/api/ahead";

/** What the dashboard shows first, as its queries ask for it. */
const first = [
  `/api/pipelines?limit=50${ofProject}`,
  `/api/training?limit=50${ofProject}`,
  `/api/models?limit=5${ofProject}&kind=tuned`,
  "/api/system",
  `/api/deployments?limit=50${ofProject}&status=serving&status=queued&status=restarting`,
  "/api/me",
  "/api/projects?limit=200",
];

export default function DashboardPage() {
  return (
    <>
      <script dangerouslySetInnerHTML={{ __html: askAhead(first) }} />
      <Dashboard />
    </>
  );
}
