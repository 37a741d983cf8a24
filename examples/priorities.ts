/**
 * Priorities: the most urgent task runs first; one is cancelled, one is moved,
 * one becomes urgent, and one is raised by its waiter.
 *
 * Nothing starves: one handle in 32 is the oldest there is, whatever its
 * priority.
 */

import {
  getRunningLoop,
  Lock,
  PriorityScheduler,
  run,
  sleep,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const log: string[] = [];
const say = (line: string) => {
  log.push(line);
  console.log(line);
};

await run(async () => {
  const loop = getRunningLoop();
  loop.postTask(() => say("index"), { priority: "background" });
  const report = loop.postTask(() => say("report"), { priority: "background" });
  const preview = loop.postTask(() => say("preview"));
  const mail = loop.postTask(() => say("mail"));
  loop.postTask(() => say("paint"), { priority: "user-blocking" });

  preview.cancel("the window is closed"); // never runs
  mail.reschedule(loop.time() + 20); // runs later
  report.setPriority("user-blocking"); // runs behind what is as urgent
  await sleep(30);
  assertEquals(preview.cancelled(), true);
  assertEquals(log.splice(0), ["paint", "report", "index", "mail"]);

  // Something urgent waits for a lock in the background: until it is free, its
  // holder is as urgent, and what is in between waits.
  const lock = new Lock();
  const archive = loop.createTask(async () => {
    using _permit = await lock.acquire();
    await sleep(10);
    say(`archive, raised to ${archive.effectivePriority}`);
  }, { priority: "background" });
  const save = loop.createTask(async () => {
    await sleep(5);
    using _permit = await lock.acquire();
    say("save");
  }, { priority: "user-blocking" });
  await save;
  assertEquals(archive.effectivePriority, -10);
  assertEquals(log, ["archive, raised to 10", "save"]);
}, {
  scheduler: new PriorityScheduler(),
  host: "virtual", // so that a slow machine changes nothing
});
