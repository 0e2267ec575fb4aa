import { CircleHelp, Equal, TrendingDown, TrendingUp } from "lucide-react";
import { Badge, type Tone } from "@/components/Badge";

const verdicts: Record<string, { label: string; tone: Tone; icon: typeof Equal }> = {
  better: { label: "Better than its base", tone: "good", icon: TrendingUp },
  worse: { label: "Worse than its base", tone: "bad", icon: TrendingDown },
  inconclusive: { label: "No clear difference", tone: "neutral", icon: Equal },
  too_few_rows: { label: "Too few rows to tell", tone: "warn", icon: CircleHelp },
};

export function Verdict({ verdict }: { verdict: string | undefined }) {
  const shown = verdict ? verdicts[verdict] : undefined;
  if (!shown) return null;
  const Icon = shown.icon;
  return (
    <Badge tone={shown.tone} icon={<Icon aria-hidden className="size-3.5" />}>
      {shown.label}
    </Badge>
  );
}
