"use client";

import { Database, Ellipsis, Pencil, Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import { Badge } from "@/components/Badge";
import { Bars, Parts } from "@/components/Bars";
import { Button, IconButton } from "@/components/Button";
import { Card, Facts, Stat, Stats } from "@/components/Card";
import { CodeBlock, Id } from "@/components/Code";
import { Confirm, Dialog } from "@/components/Dialog";
import { DropZone } from "@/components/DropZone";
import { Empty } from "@/components/Empty";
import { Checkbox, Field, Input, Select, Textarea } from "@/components/Field";
import { List, Row } from "@/components/List";
import { Menu } from "@/components/Menu";
import { ErrorNotice, Notice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Progress } from "@/components/Progress";
import { Scroller } from "@/components/Scroller";
import { Segmented } from "@/components/Segmented";
import { Skeleton } from "@/components/Skeleton";
import { StatusBadge } from "@/components/Status";
import { Tabs } from "@/components/Tabs";
import { toast } from "@/components/Toasts";
import { Problem } from "@/lib/api/problem";
import { count } from "@/lib/format";

const colours = [
  ["bg", "bg-bg"],
  ["surface", "bg-surface"],
  ["sunken", "bg-sunken"],
  ["line", "bg-line"],
  ["line-strong", "bg-line-strong"],
  ["ink", "bg-ink"],
  ["ink-2", "bg-ink-2"],
  ["ink-3", "bg-ink-3"],
  ["accent", "bg-accent"],
  ["accent-soft", "bg-accent-soft"],
  ["good", "bg-good"],
  ["good-soft", "bg-good-soft"],
  ["warn", "bg-warn"],
  ["warn-soft", "bg-warn-soft"],
  ["bad", "bg-bad"],
  ["bad-soft", "bg-bad-soft"],
  ["chart-1", "bg-chart-1"],
  ["chart-2", "bg-chart-2"],
  ["chart-3", "bg-chart-3"],
  ["chart-4", "bg-chart-4"],
  ["chart-5", "bg-chart-5"],
  ["chart-6", "bg-chart-6"],
  ["chart-7", "bg-chart-7"],
  ["chart-8", "bg-chart-8"],
] as const;

const statuses = [
  "queued",
  "running",
  "pausing",
  "paused",
  "cancelling",
  "cancelled",
  "stopping",
  "stopped",
  "completed",
  "ready",
  "serving",
  "failed",
  "awaiting_confirmation",
];

const wide = ["First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth"];

const problem = new Problem({
  status: 400,
  code: "invalid",
  detail: "the learning rate is negative",
  field: "config.learning_rate",
  remedy: "choose one above 0",
});

/** Every part that the app is made of, with its states. */
export function Design() {
  const [open, setOpen] = useState<"dialog" | "confirm">();
  const [tab, setTab] = useState("one");
  const [choice, setChoice] = useState("a");
  return (
    <Page
      title="Design"
      note="The parts that the app is made of. Look at them in both themes."
      aside={<Badge tone="accent">tokens in globals.css</Badge>}
    >
      <div className="grid gap-5">
        <Card title="Colours">
          <ul className="grid grid-cols-3 gap-3 sm:grid-cols-6">
            {colours.map(([name, look]) => (
              <li key={name} className="text-ink-3 text-xs">
                <div className={`mb-1 h-10 rounded border border-line ${look}`} />
                {name}
              </li>
            ))}
          </ul>
        </Card>
        <Card title="Text">
          <p className="text-2xl">Two extra large</p>
          <p className="text-xl">Extra large: a page's title</p>
          <p className="text-lg">Large: a number that matters</p>
          <p>Base: what one reads</p>
          <p className="text-ink-2 text-sm">Small: hints and notes</p>
          <p className="text-ink-3 text-xs">Extra small: labels</p>
        </Card>
        <Card title="Buttons">
          <div className="flex flex-wrap gap-3">
            <Button variant="primary" icon={<Plus aria-hidden className="size-4" />}>
              Primary
            </Button>
            <Button>Secondary</Button>
            <Button variant="quiet">Quiet</Button>
            <Button variant="danger" icon={<Trash2 aria-hidden className="size-4" />}>
              Danger
            </Button>
            <Button size="sm">Small</Button>
            <Button busy>Busy</Button>
            <Button disabled>Disabled</Button>
            <IconButton label="Edit">
              <Pencil aria-hidden className="size-4" />
            </IconButton>
            <Menu
              trigger={
                <IconButton label="Menu">
                  <Ellipsis aria-hidden className="size-4" />
                </IconButton>
              }
              entries={[
                { label: "Do this", onSelect: () => toast.good("Done") },
                "line",
                { label: "Delete", danger: true, onSelect: () => setOpen("confirm") },
              ]}
            />
          </div>
        </Card>
        <Card title="Statuses">
          <div className="flex flex-wrap gap-2">
            {statuses.map((status) => (
              <StatusBadge key={status} status={status} />
            ))}
          </div>
        </Card>
        <Card title="Fields">
          <div className="grid gap-5 sm:grid-cols-2">
            <Field label="Text" hint="A hint.">
              <Input placeholder="Placeholder" />
            </Field>
            <Field label="With an error" error="It must be above 0; choose another.">
              <Input defaultValue="-1" />
            </Field>
            <Field label="Choice" aside="optional">
              <Select>
                <option>One</option>
                <option>Two</option>
              </Select>
            </Field>
            <Field label="Long text">
              <Textarea />
            </Field>
            <Checkbox label="A switch" hint="What it does." defaultChecked />
            <Segmented
              label="A few"
              value={choice}
              onChange={setChoice}
              options={["a", "b", "c"].map((value) => ({ value, label: value.toUpperCase() }))}
            />
          </div>
        </Card>
        <Card title="Messages">
          <div className="grid gap-3">
            <Notice title="To know">What is going on.</Notice>
            <Notice kind="good" title="It went well" />
            <Notice kind="warn" title="Take care">
              What could go wrong.
            </Notice>
            <ErrorNotice error={problem} onRetry={() => toast.info("Tried again")} />
            <div className="flex flex-wrap gap-2">
              <Button onClick={() => toast.good("It is saved", { label: "Undo", onClick: () => undefined })}>
                Toast
              </Button>
              <Button onClick={() => toast.bad("It was not saved", problem)}>Error toast</Button>
              <Button onClick={() => setOpen("dialog")}>Dialog</Button>
              <Button onClick={() => setOpen("confirm")}>Question</Button>
            </div>
          </div>
        </Card>
        <Card title="Progress">
          <div className="grid gap-4">
            <Progress value={0.42} label="Known" />
            <Progress value={undefined} label="Not known" />
            <Progress value={0.9} label="Full" tone="warn" />
            <Skeleton className="h-5 w-1/2" />
          </div>
        </Card>
        <Card title="Numbers">
          <Stats className="mb-6">
            <Stat label="Loss" value="1.204" note="best 1.198" />
            <Stat label="Speed" value="201 tok/s" />
          </Stats>
          <Facts
            items={[
              ["Name", "Value"],
              ["Id", <Id key="i" id="job_0123456789abcdef" />],
            ]}
          />
        </Card>
        <Card title="Pictures">
          <div className="grid gap-6">
            <Bars
              label="A histogram"
              bars={[3, 9, 20, 34, 22, 8, 2].map((value, i) => ({
                label: String(2 ** i),
                value,
                cut: i > 4 ? 1 : i === 4 ? 0.4 : 0,
                title: `${2 ** i}: ${value}`,
              }))}
            />
            <Parts
              label="Parts of a whole"
              format={count}
              parts={[
                { label: "one", value: 300, look: "bg-chart-1" },
                { label: "another", value: 100, look: "bg-chart-2" },
                { label: "lost", value: 12, look: "bg-bad" },
              ]}
            />
          </div>
        </Card>
        <Card title="Lists" flush>
          <List label="Example">
            <Row href="/design" title="A row leads somewhere" note="What it is">
              <StatusBadge status="running" />
            </Row>
            <Row href="/design" title="Another" note="What it is">
              <StatusBadge status="completed" />
            </Row>
          </List>
        </Card>
        <Card title="What is wider than its place" flush>
          <Scroller label="A wide table">
            <table className="w-full min-w-7xl text-left text-sm">
              <thead className="text-ink-3">
                <tr className="border-line border-b">
                  {wide.map((name) => (
                    <th key={name} scope="col" className="px-4 py-2 font-medium sm:px-5">
                      {name}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                <tr>
                  {wide.map((name, i) => (
                    <td key={name} className="tabular px-4 py-2 sm:px-5">
                      {count(10 ** i)}
                    </td>
                  ))}
                </tr>
              </tbody>
            </table>
          </Scroller>
        </Card>
        <Card title="Tabs">
          <Tabs
            label="Example"
            value={tab}
            onChange={setTab}
            tabs={[
              { value: "one", label: "One", content: "The first." },
              { value: "two", label: "Two", content: "The second." },
            ]}
          />
        </Card>
        <Card title="Code">
          <CodeBlock
            label="Example"
            code={'curl http://127.0.0.1:8400/v1/models \\\n  -H "Authorization: Bearer $VIBEFLOW_KEY"'}
          />
        </Card>
        <Card title="Taking a file">
          <DropZone
            onFiles={([file]) => toast.info(file!.name)}
            accept="*"
            title="Choose a file, or drop it here"
            hint="Nothing happens to it here."
          />
        </Card>
        <Card title="Nothing there" flush>
          <Empty icon={Database} title="No dataset yet" action={<Button>Upload a file</Button>}>
            What would be here, and how it gets here.
          </Empty>
        </Card>
      </div>
      <Dialog
        open={open === "dialog"}
        onClose={() => setOpen(undefined)}
        title="A dialog"
        description="What it is about."
      >
        <Field label="Something">
          <Input />
        </Field>
      </Dialog>
      <Confirm
        open={open === "confirm"}
        onClose={() => setOpen(undefined)}
        title="Delete this?"
        action="Delete it"
        danger
        onConfirm={() => setOpen(undefined)}
      >
        What goes with it, and that it cannot be undone.
      </Confirm>
    </Page>
  );
}
