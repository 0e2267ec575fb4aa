import { Design } from "@/features/design/Design";

export default function DesignPage() {
  return <Design />;
}
