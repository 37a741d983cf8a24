/**
 * Check of the options of cancel scopes.
 *
 * @module
 */
import { checkOneOf, checkWaitOptions } from "../loop/checks.ts";
import type { ScopeOptions } from "./cancel_scope.ts";

/** Returns the options of a scope with a time limit. Throws unless they are what they must be, or missing. */
export function checkScopeOptions(
  options: ScopeOptions,
  what: string,
): ScopeOptions {
  const signal = checkWaitOptions(options, what);
  const { shield = false } = options;
  checkOneOf(shield, [true, false], what, "shield");
  return { shield, signal };
}
