import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const binary = resolve(process.env.VIBEFLOW_BIN ?? "../bin/vibeflow");
const patience = 120_000;

/** One VibeFlow: a data folder, and the `up` that runs on it. */
export class Platform {
  private up?: ChildProcess;
  private said = "";

  private constructor(
    readonly folder: string,
    readonly address: string,
  ) {}

  static async start(): Promise<Platform> {
    // Not a long path: sockets stand in it.
    const folder = await mkdtemp(join(tmpdir(), "vf-ui-"));
    const platform = new Platform(folder, `127.0.0.1:${await freePort()}`);
    await platform.begin();
    return platform;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  /** Runs `vibeflow up` and waits until it is ready. */
  async begin(): Promise<void> {
    const up = spawn(binary, ["up", "--data", join(this.folder, "d"), "--listen", this.address], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.up = up;
    const hear = (data: Buffer) => {
      this.said += data.toString();
    };
    up.stdout?.on("data", hear);
    up.stderr?.on("data", hear);
    await this.until("ready", async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  /** Ends `up` as Ctrl-C does. */
  async end(): Promise<void> {
    const { up } = this;
    if (!up || up.exitCode !== null) return;
    const gone = new Promise((done) => up.once("exit", done));
    up.kill("SIGINT");
    await gone;
  }

  async remove(): Promise<void> {
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** kill -9 of one of up's processes; `up` starts it again. */
  async kill(process_: "server" | "worker" | "temporal"): Promise<void> {
    const pid = Number((await readFile(join(this.folder, "d", "run", `${process_}.lock`), "utf8")).trim());
    process.kill(pid, "SIGKILL");
  }

  /** A link that signs a browser in as the owner, once. */
  async link(): Promise<string> {
    const { stdout } = await promisify(execFile)(binary, ["open", "--print", "--data", join(this.folder, "d")]);
    const link = stdout.split(/\s+/).find((word) => word.startsWith("http"));
    if (!link) throw new Error(`vibeflow open said: ${stdout}`);
    return link;
  }

  private async until(what: string, there: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + patience;
    while (Date.now() < deadline) {
      if (this.up?.exitCode !== null && this.up?.exitCode !== undefined) break;
      if (await there().catch(() => false)) return;
      await new Promise((next) => setTimeout(next, 200));
    }
    throw new Error(`VibeFlow is not ${what}; up said:\n${this.said}`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
