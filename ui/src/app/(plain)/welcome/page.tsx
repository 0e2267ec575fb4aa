import { Welcome } from "@/features/account/Register";

export default function Page() {
  return <Welcome />;
}
