"use client";

import { Plus, Search } from "lucide-react";
import Link from "next/link";
import { usePathname, useRouter } from "next/navigation";
import { useEffect, useRef } from "react";
import { ButtonLink } from "@/components/Button";
import { cx } from "@/components/cx";
import { Account, ProjectSwitch } from "./Account";
import { Logo } from "./Logo";
import { type Destination, destinations, isAt } from "./navigation";

export function Sidebar({ onSearch }: { onSearch: () => void }) {
  return (
    <div className="flex h-full flex-col gap-3 p-3">
      <Logo />
      <ProjectSwitch />
      <ButtonLink href="/new" variant="primary" icon={<Plus aria-hidden className="size-4" />}>
        New model
      </ButtonLink>
      <button
        type="button"
        onClick={onSearch}
        className="flex h-9 items-center gap-2 rounded border border-line bg-surface px-3 text-ink-3 text-sm hover:border-line-strong"
      >
        <Search aria-hidden className="size-4" />
        Search
        <kbd className="ml-auto font-sans text-xs">Ctrl K</kbd>
      </button>
      <nav aria-label="Main" className="-mx-1 min-h-0 flex-1 overflow-y-auto px-1">
        {destinations.map((group) => (
          <div key={group.group ?? group.items[0]!.href} className="mb-3">
            {group.group && <p className="px-2.5 pt-1 pb-1 font-medium text-ink-3 text-xs">{group.group}</p>}
            <ul>
              {group.items.map((item) => (
                <Item key={item.href} item={item} />
              ))}
            </ul>
          </div>
        ))}
      </nav>
      <Account />
    </div>
  );
}

function Item({ item }: { item: Destination }) {
  const here = isAt(item, usePathname());
  const router = useRouter();
  const link = useRef<HTMLAnchorElement>(null);
  const Icon = item.icon;
  // A low window hides the end of the list, and with it where one is.
  useEffect(() => {
    if (here) link.current?.scrollIntoView({ block: "nearest" });
  }, [here]);
  return (
    <li>
      <Link
        ref={link}
        href={item.href}
        prefetch={false}
        onPointerEnter={() => router.prefetch(item.href)}
        onFocus={() => router.prefetch(item.href)}
        aria-current={here ? "page" : undefined}
        className={cx(
          "flex h-9 items-center gap-2.5 rounded px-2.5 outline-offset-[-2px]",
          here ? "bg-surface font-medium text-ink shadow-card" : "text-ink-2 hover:bg-sunken hover:text-ink",
        )}
      >
        <Icon aria-hidden className={cx("size-4", here && "text-accent-ink")} />
        {item.label}
      </Link>
    </li>
  );
}
