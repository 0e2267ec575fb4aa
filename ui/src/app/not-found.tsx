import { Compass } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";

export default function NotFound() {
  return (
    <main className="flex min-h-dvh items-center justify-center">
      <Empty
        icon={Compass}
        heading
        title="There is no such page"
        action={<ButtonLink href="/">Go to the dashboard</ButtonLink>}
      >
        The address may be mistyped, or what it led to has been deleted.
      </Empty>
    </main>
  );
}
