import { ofProject } from "@/lib/api/ahead";

/** What the dashboard and the frame around it show first, as their queries ask for it. */
export const first = [
  `/api/pipelines?limit=50${ofProject}`,
  `/api/training?limit=50${ofProject}`,
  `/api/models?limit=5${ofProject}&kind=tuned`,
  "/api/system",
  `/api/deployments?limit=50${ofProject}&status=serving&status=queued&status=restarting`,
  "/api/me",
  "/api/projects?limit=200",
];
