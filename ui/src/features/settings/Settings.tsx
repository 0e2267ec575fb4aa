"use client";

import { ExternalLink } from "lucide-react";
import { Async } from "@/components/Async";
import { Card, Facts } from "@/components/Card";
import { Page } from "@/components/Page";
import { Tabs } from "@/components/Tabs";
import { AccountSettings } from "@/features/account/AccountSettings";
import { useMe } from "@/features/account/queries";
import { useTab } from "@/lib/address";
import { bytes, moment } from "@/lib/format";
import { Audit } from "./Audit";
import { DiskCard } from "./DiskCard";
import { Machines } from "./Machines";
import { useSystem } from "./queries";
import { SettingCards } from "./SettingCards";
import { Users } from "./Users";

const ofOwners = ["users", "audit"];

export function Settings() {
  const [tab, setTab] = useTab("general");
  const me = useMe();
  const owner = me.data?.role === "owner";
  // The view that the address names waits until it is known who asks; another does not stand in for it.
  const showsOwners = me.data ? owner : ofOwners.includes(tab);
  return (
    <Page title="Settings">
      <Tabs
        label="Settings"
        value={tab}
        onChange={setTab}
        tabs={[
          { value: "general", label: "General", content: <SettingCards /> },
          { value: "account", label: "Account", content: <AccountSettings /> },
          { value: "machine", label: "Machine", content: <MachineTab owner={owner} /> },
          ...(showsOwners
            ? [
                { value: "users", label: "People", content: <Async query={me}>{() => <Users />}</Async> },
                { value: "audit", label: "Audit log", content: <Async query={me}>{() => <Audit />}</Async> },
              ]
            : []),
        ]}
      />
    </Page>
  );
}

function MachineTab({ owner }: { owner: boolean }) {
  const system = useSystem();
  return (
    <div className="grid gap-5">
      <Card title="Machines">
        <Async query={system}>{(data) => <Machines system={data} />}</Async>
      </Card>
      {owner && <DiskCard />}
      {system.data && (
        <Card title="This installation">
          <Facts
            items={[
              ["Version", system.data.version],
              ["Data folder", system.data.data_dir ?? "–"],
              ["Disk free", bytes(system.data.disk_free_bytes)],
              ["Last backup", system.data.backup_at ? moment(system.data.backup_at) : "–"],
              [
                "Every run",
                <a key="t" href="/temporal/" className="inline-flex items-center gap-1 text-accent-ink hover:underline">
                  in Temporal's own UI <ExternalLink aria-hidden className="size-3.5" />
                </a>,
              ],
              [
                "The API",
                <span key="a" className="inline-flex gap-3">
                  <a href="/api/docs" className="text-accent-ink hover:underline">
                    reference
                  </a>
                  <a href="/api/openapi.yaml" className="text-accent-ink hover:underline">
                    openapi.yaml
                  </a>
                </span>,
              ],
              [
                "Components",
                <a key="d" href="/design" className="text-accent-ink hover:underline">
                  of this app, on one page
                </a>,
              ],
            ]}
          />
        </Card>
      )}
    </div>
  );
}
