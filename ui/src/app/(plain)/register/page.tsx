import { Register } from "@/features/account/Register";

export default function Page() {
  return <Register />;
}
