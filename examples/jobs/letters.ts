/**
 * Functions of the jobs of `job_queue_on_redis.ts` and `one_program_four_places.ts`.
 */

import { currentJob } from "@rota/rota";

/** Counts the letters of a text, and tells how far it is. */
export function countLetters(text: string): number {
  let count = 0;
  for (const word of text.split(" ")) {
    count += word.length;
    currentJob()?.progress(word);
  }
  return count;
}

/** Sends a letter; the first attempt fails. */
export function send(to: string): string {
  const lease = currentJob()?.lease;
  if (lease?.attempt === 1) throw new Error("the post office is closed");
  return `sent to ${to} in attempt ${lease?.attempt ?? 1}`;
}
