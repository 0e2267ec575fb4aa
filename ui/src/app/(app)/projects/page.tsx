import { ProjectList } from "@/features/projects/ProjectList";

export default function ProjectsPage() {
  return <ProjectList />;
}
