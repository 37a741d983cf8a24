/**
 * Random sequences of crashes, commands and delays, on Rota's supervisor and by a naive
 * model of OTP's rules.
 *
 * @module
 */
import { search } from "./model/search.ts";

/** The seeds: from 1 on, in parts. */
const SEQUENCES = 100_000;
const PARTS = 10;

for (let part = 0; part < PARTS; part++) {
  const count = SEQUENCES / PARTS;
  const from = 1 + part * count;
  Deno.test(`random sequences follow the rules: seeds ${from} to ${from + count - 1}`, async () => {
    const found = await search(from, count);
    if (found !== null) throw new Error(found);
  });
}
