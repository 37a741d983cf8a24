/**
 * What the demo leaves behind: a file with the result, and a report of a few
 * lines.
 *
 * @module
 */

import { resolve } from "node:path";
import type { Job } from "./job.ts";

const RESULT_FOLDER = resolve(Deno.cwd(), ".report");
const RESULT = resolve(RESULT_FOLDER, "concordance.txt");

/** Writes the result, as far as there is one. */
export async function writeResult(job: Job): Promise<void> {
  const { concordance, filesDone, sources, isComplete } = job;
  const heading =
    `Concordance of ${filesDone} of ${amount(sources.length, "file")}` +
    (isComplete ? "" : ", and of others as far as they were read");
  await Deno.mkdir(RESULT_FOLDER, { recursive: true });
  await Deno.writeTextFile(RESULT, concordance.format(heading));
}

/** Returns the report. */
export function reportOf(job: Job): string {
  const { lines, total, different } = job.concordance;
  const counts = [
    `${job.filesDone} of ${amount(job.sources.length, "file")}`,
    amount(lines, "line"),
    amount(total, "word"),
    `${different} different`,
  ];
  const frequent = job.concordance.mostFrequent(5)
    .map(([word, occurrences]) => `${word} (${occurrences})`);
  const report = [counts.join(", ")];
  if (frequent.length > 0) report.push(`Most frequent: ${frequent.join(", ")}`);
  if (job.restarts.length > 0) {
    report.push(`Restarted: ${job.restarts.join(", ")}`);
  }
  report.push(
    `Served ${amount(job.answers, "question")}, ${job.refusals} refused`,
  );
  report.push(String(job.status), `Result: ${RESULT}`);
  return report.join("\n");
}

/** A number with a noun. */
export function amount(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
