/**
 * Programs of `tests/supervise/children/`, as child processes.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  type Program,
  type ProgramOptions,
  startProgram,
} from "../../support/program.ts";

/** Starts a program of the folder, in a scene of it. */
export function startChild(
  name: string,
  scene: string,
  options: ProgramOptions = {},
): Program {
  const url = import.meta.resolve(`../children/${name}.ts`);
  return startProgram(`await import(${JSON.stringify(url)});`, {
    ...options,
    env: { SCENE: scene, ...options.env },
  });
}

/** Reads lines until `line` has come. */
export async function waitForLine(
  program: Program,
  line: string,
): Promise<void> {
  for (;;) {
    const next = await program.line();
    if (next === line) return;
    assertEquals(next !== null, true, `the child ended before "${line}"`);
  }
}
