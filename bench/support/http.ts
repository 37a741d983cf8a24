/**
 * A server beside a busy loop: `deno task bench:http`.
 *
 * `Deno.serve` answers two bytes; a client in another process sends one request
 * after the other on one connection, while in the process of the server a loop
 * runs callbacks that schedule themselves for ever.
 *
 * @module
 */
import { newEventLoop } from "../../mod.ts";
import { childScript, outputOfDeno } from "./child.ts";
import { type Figure, figure, percentile, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const REQUESTS = 2_000;
const ROUNDS = 3;
/** How many callbacks take turns in the busy loop. */
const CALLBACKS = 10;

/** Starts a loop that is always busy; gives what stops it. */
export function keepBusy(): () => Promise<number> {
  const loop = newEventLoop();
  let calls = 0;
  const again = (): void => {
    calls++;
    loop.callSoon(again);
  };
  for (let n = 0; n < CALLBACKS; n++) loop.callSoon(again);
  const stopped = loop.runForever();
  return async () => {
    loop.stop();
    await stopped;
    await loop.close();
    return calls;
  };
}

/** How long each of some requests took, in microseconds. */
export async function requestTimes(requests: number): Promise<number[]> {
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("ok"),
  );
  const printed = await outputOfDeno(childScript("http_client.ts"), [
    `${server.addr.port}`,
    `${requests}`,
  ]);
  const tookUs: number[] = JSON.parse(printed);
  if (tookUs.length !== requests) {
    throw new Error(`${tookUs.length} of ${requests} requests were answered`);
  }
  return tookUs;
}

/** Measures the server alone and beside a busy loop, by turns. */
export async function measureHttp(
  requests: number = REQUESTS,
  rounds: number = ROUNDS,
): Promise<Figure[]> {
  const alone: number[][] = [];
  const busy: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    alone.push(await requestTimes(requests));
    const stop = keepBusy();
    let calls = 0;
    try {
      busy.push(await requestTimes(requests));
    } finally {
      calls = await stop();
    }
    if (calls < requests) throw new Error("The loop was not busy");
  }
  const figures: Figure[] = [];
  const cases: [string, Role, number[][]][] = [
    ["no loop", "limit", alone],
    ["Rota, busy", "rota", busy],
  ];
  for (const [name, role, times] of cases) {
    for (const percent of [50, 99]) {
      figures.push(figure(
        {
          workload: "HTTP request",
          case: name,
          role,
          measure: `p${percent}`,
          unit: "us",
        },
        times.map((tookUs) => percentile(tookUs, percent)),
      ));
    }
  }
  return figures;
}

if (import.meta.main) printFigures(await measureHttp());
