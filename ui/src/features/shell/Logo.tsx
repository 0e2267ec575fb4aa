import Link from "next/link";

export function Mark({ className }: { className?: string }) {
  return (
    <svg aria-hidden viewBox="0 0 32 32" className={className}>
      <rect width="32" height="32" rx="8" className="fill-accent" />
      <path d="M7 10.5c3.2 0 3.9 11 9 11s5.8-11 9-11" fill="none" stroke="#fff" strokeWidth="3" strokeLinecap="round" />
      <circle cx="16" cy="10.5" r="2" fill="#fff" />
    </svg>
  );
}

export function Logo() {
  return (
    <Link
      href="/"
      prefetch={false}
      className="flex h-9 items-center gap-2.5 rounded px-2 font-semibold text-lg tracking-tight"
    >
      <Mark className="size-6" />
      VibeFlow
    </Link>
  );
}
