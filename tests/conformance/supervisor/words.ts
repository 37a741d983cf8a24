/**
 * Rota's answers in the words of the traces.
 *
 * @module
 */
import {
  ChildSpecError,
  ChildStartError,
  ChildStateError,
  SupervisorEndedError,
} from "../../../src/errors.ts";
import type { ChildEnd } from "../../../src/supervise/child_end.ts";
import { DynamicSupervisor } from "../../../src/supervise/dynamic_supervisor.ts";
import type { SupervisorBase } from "../../../src/supervise/supervisor_base.ts";
import type {
  ChildCounts,
  ChildInfo,
} from "../../../src/supervise/supervisor_calls.ts";

const SPEC_PROBLEMS: Readonly<Record<string, string>> = {
  "duplicate-id": "duplicate-child",
  "bad-combination": "bad-combination",
};

/** Why a start has failed. */
export function whyFailed(error: unknown): string {
  if (error instanceof ChildStartError) {
    return `failed-to-start ${error.childId}: ${whyFailed(error.cause)}`;
  }
  if (error instanceof ChildSpecError) {
    const { problem, childId } = error;
    const what = SPEC_PROBLEMS[problem] ?? problem;
    return `start-spec ${what}${
      problem === "duplicate-id" ? ` ${childId}` : ""
    }`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** The reason with which a child has ended. */
export function endReason(end: ChildEnd): string {
  switch (end.kind) {
    case "normal":
    case "crash":
    case "shutdown":
      return end.kind;
    default:
      return "killed";
  }
}

/** The result of a call, from what it returned or threw. */
export function callResult(
  op: string,
  value: unknown,
  supervisor: SupervisorBase,
): unknown {
  if (value instanceof Error) return errorResult(value);
  switch (op) {
    case "start-child":
    case "start-instance":
    case "restart-child":
      return value === undefined ? "ok-undefined" : "ok-started";
    case "count-children":
      return { ...value as ChildCounts };
    case "which-children":
      return supervisor instanceof DynamicSupervisor
        ? tally(value as ChildInfo[])
        : (value as ChildInfo[]).map(({ id, status, type }) => [
          id,
          status === "stopped" ? "undefined" : status,
          type,
        ]);
    default:
      return "ok";
  }
}

function tally(
  infos: readonly ChildInfo[],
): { running: number; restarting: number } {
  const count = (wanted: string) =>
    infos.filter(({ status }) => status === wanted).length;
  return { running: count("running"), restarting: count("restarting") };
}

function errorResult(error: Error): string {
  if (error instanceof SupervisorEndedError) return "noproc";
  if (error instanceof ChildStateError) {
    return `error ${
      error.problem === "dynamic" ? "simple-one-for-one" : error.problem
    }`;
  }
  if (error instanceof ChildSpecError) return `error ${error.problem}`;
  if (error instanceof ChildStartError) {
    return `error ${whyFailed(error.cause)}`;
  }
  return `error ${error.name}: ${error.message}`;
}
