/**
 * The end of the process by the C library, from any thread and whatever the others do.
 *
 * @module
 */
import { ERRNO, lender, type Libc } from "./libc.ts";

const EXIT = {
  ...ERRNO,
  /** void _exit(int code) */
  _exit: { parameters: ["i32"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

const lend: () => Libc<typeof EXIT> = lender(EXIT, ({ symbols }) => symbols);

/** Ends the process at once with `code`: nothing is flushed, no handler runs. Needs `--allow-ffi`. */
export function exitNow(code: number): void {
  lend().symbols._exit(code);
}
