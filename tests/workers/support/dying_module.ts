/**
 * A module that dies while it is imported: its URL says how.
 *
 * @module
 */
import { deaths } from "./thread_jobs.ts";

deaths[new URL(import.meta.url).searchParams.get("how")!]!();

// The promise never settles: what dies later does so within the import.
await new Promise(() => {});

/** Never called. */
export function job(): void {}
