import { Redeem } from "@/features/account/Login";

export default function Page() {
  return <Redeem />;
}
