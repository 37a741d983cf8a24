/**
 * Worker of poolifier.
 *
 * @module
 */
import { ThreadWorker } from "poolifier-web-worker";
import addPair from "./pool_jobs.ts";

interface Pair {
  readonly a: number;
  readonly b: number;
}

export default new ThreadWorker<Pair, number>((pair?: Pair) => addPair(pair!));
