import { Dashboard } from "@/features/dashboard/Dashboard";
import { first } from "@/features/dashboard/first";
import { askAhead } from "@/lib/api/ahead";

export default function DashboardPage() {
  return (
    <>
      <script dangerouslySetInnerHTML={{ __html: askAhead(first) }} />
      <Dashboard />
    </>
  );
}
