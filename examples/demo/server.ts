/**
 * The child that serves the words over HTTP, and the one that asks it.
 *
 * @module
 */

import {
  type Coroutine,
  currentTask,
  getRunningLoop,
  type Server,
  shutdownSignal,
  sleep,
  type Supervisable,
  supervisedServer,
  type Supervisor,
  taskGroup,
  until,
} from "@rota/rota";
import type { Job } from "./job.ts";

/** Name of the child that serves. */
export const SERVER = "server";

const CLIENTS = 4;
/** Pause of a client after each question. */
const PAUSE_MS = 5;
const WORDS_ASKED = 20;

/** The server: `GET /words/NAME` tells how often a word was found until now. */
export function serveWords(job: Job): () => Supervisable {
  return supervisedServer(
    (request) => answer(job, request),
    {
      port: 0,
      hostname: "127.0.0.1",
      maxConcurrent: CLIENTS,
      requestTimeoutMs: 1_000,
      readinessPath: "/ready",
    },
  );
}

function answer(job: Job, request: Request): Response {
  const { pathname } = new URL(request.url);
  const word = /^\/words\/([^/]+)$/.exec(pathname)?.[1];
  if (word === undefined) return new Response("Not found", { status: 404 });
  const count = job.concordance.countOf(decodeURIComponent(word));
  return Response.json({ count, complete: job.isComplete });
}

/** Asks the server for some time, several questions at once, or until the shutdown begins. */
export function* askForWords(
  job: Job,
  supervisor: Supervisor,
): Coroutine<void> {
  const url = `http://127.0.0.1:${yield* portOf(supervisor)}`;
  const untilMs = getRunningLoop().time() + job.askMs;
  try {
    yield* taskGroup((group) => {
      for (let n = 1; n <= CLIENTS; n++) {
        group.createTask(() => ask(job, url, untilMs), { name: `client ${n}` });
      }
    }, { signal: shutdownSignal });
  } catch (error) {
    if (error !== shutdownSignal.reason) throw error;
  }
}

function* portOf(supervisor: Supervisor): Coroutine<number> {
  const children = yield* supervisor.whichChildren();
  const server = children.find(({ id }) => id === SERVER)?.run?.value as Server;
  return ((yield* server.ready()) as Deno.NetAddr).port;
}

function* ask(job: Job, url: string, untilMs: number): Coroutine<void> {
  for (let n = 0; getRunningLoop().time() < untilMs; n++) {
    const words = job.concordance.mostFrequent(WORDS_ASKED);
    const word = words[n % (words.length || 1)]?.[0] ?? "nothing";
    const path = `/words/${encodeURIComponent(word)}`;
    const { signal } = currentTask()!;
    const response = yield* until(fetch(url + path, { signal }));
    const { status } = response;
    yield* until(response.json());
    if (status === 200) job.answers++;
    else job.refusals++;
    yield* sleep(PAUSE_MS);
  }
}
