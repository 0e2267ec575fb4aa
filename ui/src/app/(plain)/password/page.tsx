import { ChoosePassword } from "@/features/account/Register";

export default function Page() {
  return <ChoosePassword />;
}
