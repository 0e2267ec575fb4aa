import { Login } from "@/features/account/Login";

export default function Page() {
  return <Login />;
}
