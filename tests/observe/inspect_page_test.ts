/**
 * The page of the inspector in a browser: what people see, by keyboard and on a phone.
 *
 * Pictures of it are kept in `.report/`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  createTask,
  getRunningLoop,
  Lock,
  run,
  sleep,
  Supervisor,
  type Task,
  until,
} from "../../mod.ts";
import type { Coroutine } from "../../src/loop/mod.ts";
import { inspect } from "../../src/observe/mod.ts";
import { ROOT } from "../support/run_deno.ts";
import { Chromium, hasChromium } from "./support/chromium.ts";

const MARKUP = "<img src=x onerror=\"document.title='pwned'\">";

/** Tasks that wait for one another, 50 in all with those around them. */
function makeTasks(): Task<unknown>[] {
  const [a, b] = [new Lock(), new Lock()];
  const both = (first: Lock, second: Lock) =>
    function* (): Coroutine<void> {
      using _one = yield* first.acquire();
      yield* sleep(1);
      using _two = yield* second.acquire();
    };
  const wait = function* (): Coroutine<void> {
    yield* sleep(600_000);
  };
  const tasks: Task<unknown>[] = [
    createTask(both(a, b), { name: "transfer from A to B" }),
    createTask(both(b, a), { name: "transfer from B to A" }),
    createTask(wait, { name: MARKUP }),
  ];
  tasks.push(createTask(function* () {
    for (let number = 1; number <= 42; number++) {
      tasks.push(createTask(wait, { name: `session ${number}` }));
    }
    yield* sleep(600_000);
  }, { name: "sessions" }));
  return tasks;
}

/** A supervisor with a child that is well, and one that crashes for good. */
function makeSupervisor(): Supervisor {
  return new Supervisor({
    name: "services",
    children: [
      { id: "cache", start: () => sleep(600_000) },
      {
        id: "mailer",
        start: function* () {
          yield* sleep(1);
          throw new Error("smtp.example.com refused the connection");
        },
        backoff: { initialMs: 60_000, maxMs: 60_000, jitter: "none" },
      },
    ],
  });
}

/** Number of rows that are shown. */
const ROWS =
  `[...document.querySelectorAll(".row")].filter((row) => !row.hidden).length`;
const PROBLEMS = `document.querySelector("#problems").innerText`;
const FOCUSED =
  `document.activeElement.closest(".row")?.querySelector("bdi")?.textContent`;

async function keepPicture(browser: Chromium, name: string): Promise<void> {
  await Deno.mkdir(new URL(".report/", ROOT), { recursive: true });
  await browser.picture(new URL(`.report/inspect_${name}.png`, ROOT));
}

Deno.test({
  name: "the page shows a tree, a deadlock, a blocked loop and a crashed child",
  ignore: !hasChromium(), // Debian's /usr/bin/chromium
  fn: async () => {
    await run(async () => {
      getRunningLoop().setExceptionHandler(() => {}); // a child crashes
      const tasks = makeTasks();
      const blocker = createTask(block, { name: "resize images" });
      const supervisor = makeSupervisor();
      await supervisor.start();
      const inspector = inspect({ name: "shop" });
      const url = await inspector.ready();
      try {
        await until(() => look(url, { session: tasks.at(-1)!, blocker }));
      } finally {
        await inspector.close();
        await supervisor.stop();
        for (const task of [...tasks, blocker]) task.cancel();
      }
    }, { name: "main" });
  },
});

/** Set to have the loop blocked once. */
let blocking: { readonly forMs: number } | null = null;

function* block(): Coroutine<void> {
  for (;;) {
    yield* sleep(10);
    if (blocking === null) continue;
    const end = performance.now() + blocking.forMs;
    blocking = null;
    while (performance.now() < end);
  }
}

/** Looks at the page as a person would. */
async function look(
  url: string,
  { session, blocker }: { session: Task<unknown>; blocker: Task<unknown> },
): Promise<void> {
  await using browser = await Chromium.start();
  await browser.resize(1_280, 1_000);
  await browser.open(url);
  await browser.until(`${ROWS} >= 50`);
  await seeProblems(browser);
  await seeText(browser);
  await seeBlock(browser);
  await keepPicture(browser, "desktop");
  await browser.resize(390, 1_600);
  await keepPicture(browser, "phone");
  const width = await browser.evaluate("document.documentElement.scrollWidth");
  assertEquals(width, 390, "the page has to be scrolled sideways on a phone");
  await browser.resize(1_280, 1_000, true);
  await keepPicture(browser, "dark");
  await browser.resize(1_280, 1_000);
  await cancelByKeyboard(browser, session);
  assert(!blocker.done());
  assertEquals(browser.complaints, []);
}

async function seeProblems(browser: Chromium): Promise<void> {
  await browser.until(
    `${PROBLEMS}.includes("Child mailer of services is down")`,
  );
  const text = await browser.evaluate<string>(PROBLEMS);
  assert(text.includes("Deadlock: 2 tasks wait for one another"), text);
  assert(text.includes("transfer from A to B waits for Lock #"), text);
  assert(text.includes("smtp.example.com refused"), text);
  const marked = await browser.evaluate<number>(
    `document.querySelectorAll(".row[data-mark=deadlock]").length`,
  );
  assertEquals(marked, 2);
  const down = await browser.evaluate<string>(
    `document.querySelector("#supervisors .down").innerText`,
  );
  assert(down.startsWith("mailer restarting in "), down);
}

async function seeText(browser: Chromium): Promise<void> {
  const found = await browser.evaluate<[number, boolean, string]>(`[
    document.images.length,
    [...document.querySelectorAll(".row bdi")].some((name) => name.textContent === ${
    JSON.stringify(MARKUP)
  }),
    document.title,
  ]`);
  assertEquals(found.slice(0, 2), [0, true]);
  assert(!found[2].includes("pwned"), found[2]);
}

/** A block is told while it lasts, by silence, and then by name. */
async function seeBlock(browser: Chromium): Promise<void> {
  blocking = { forMs: 1_500 };
  await browser.until(`${PROBLEMS}.includes("The loop does not answer")`);
  await browser.until(
    `${PROBLEMS}.includes("Task resize images blocked the loop for ") &&
    document.querySelector("#link").textContent === "live"`,
  );
  const text = await browser.evaluate<string>(PROBLEMS);
  assert(!text.includes("does not answer"), text);
  const bars = await browser.evaluate<string>(
    `document.querySelector("#lag .over").getAttribute("d")`,
  );
  assert(bars.startsWith("M"), "no red bar in the plot of the lag");
}

async function cancelByKeyboard(
  browser: Chromium,
  session: Task<unknown>,
): Promise<void> {
  await browser.press("/");
  await browser.type(session.name);
  await browser.until(`${ROWS} === 1`);
  await browser.press("ArrowDown");
  assertEquals(await browser.evaluate(FOCUSED), session.name);
  await browser.press("Enter");
  await browser.until(`document.activeElement.textContent === "Sure?"`);
  assert(!session.done(), "one press was enough");
  await browser.press("Enter");
  await browser.until(`${ROWS} === 0`);
  assert(session.cancelled());
  await browser.until(
    `document.querySelector("#said").textContent.includes("is being cancelled")`,
  );
  // The next thing of the list, or its filter, has the focus, not the top of the page.
  assertEquals(
    await browser.evaluate("document.activeElement === document.body"),
    false,
  );
}
