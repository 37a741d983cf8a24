/**
 * Messages to a supervisor: calls, ends of children, and restarts that are due. It
 * serves them first in, first out, one at a time.
 *
 * @module
 */
import type { Coroutine } from "../loop/task_body.ts";
import type { SupervisorCore } from "./supervisor_core.ts";

/** Message in the mailbox of a supervisor. */
export interface Message {
  /**
   * Does what it asks for. Returns a coroutine if that takes time, during which no
   * other message is served.
   */
  serve(core: SupervisorCore): Coroutine<void> | null;
  /** The supervisor has ended before. */
  refuse(core: SupervisorCore): void;
}
