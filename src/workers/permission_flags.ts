/**
 * Permissions of child processes, as flags of `deno run`.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";

/** Files, hosts, variables and so on: all of them, none, or those of a list. */
export type PermissionGrant = boolean | readonly (string | URL)[];

/**
 * Permissions of a child process, as with the flags of `deno run`: `true` is all, `false` nothing, a list only the items
 * in it. Lists of files, programs and libraries may hold `file:` URLs as well. A permission that is left out is not given,
 * but `read` and `import`, as loading modules takes them.
 */
export interface ProcessPermissions {
  /**
   * Files and folders that may be read. Modules of a job are among them.
   *
   * @default {true}, if the program itself may read everything; else the folder of its main module
   */
  readonly read?: PermissionGrant | undefined;
  /** Files and folders that may be written. */
  readonly write?: PermissionGrant | undefined;
  /** Hosts that may be talked to. */
  readonly net?: PermissionGrant | undefined;
  /** Environment variables that may be read and set. */
  readonly env?: PermissionGrant | undefined;
  /** Programs that may be run. */
  readonly run?: PermissionGrant | undefined;
  /** Native libraries that may be opened. */
  readonly ffi?: PermissionGrant | undefined;
  /** Facts about the system that may be asked for. */
  readonly sys?: PermissionGrant | undefined;
  /**
   * Hosts from which modules may be imported.
   *
   * @default the runtime's own list: jsr.io, deno.land and others
   */
  readonly import?: PermissionGrant | undefined;
}

const NAMES = [
  "read",
  "write",
  "net",
  "env",
  "run",
  "ffi",
  "sys",
  "import",
] as const;

/** Permissions whose lists have paths in them, which may be URLs. */
const WITH_PATHS: ReadonlySet<string> = new Set([
  "read",
  "write",
  "run",
  "ffi",
]);

/** Long flags of `deno run` that decide about permissions. */
const LONG_FLAG = /^--(?:(?:allow|deny|ignore)-|permission-set(?:=|$))/;
/** A group of short flags with one of those in it; `-c` and `-L` take the rest as their value. */
const SHORT_FLAG = /^-[^=cL-]*[ARWINESP]/;

/** Throws if `flags` decide about permissions: those of the pool would not count. */
export function checkFlags(flags: unknown, what: string): void {
  if (
    !Array.isArray(flags) || flags.some((flag) => typeof flag !== "string")
  ) {
    throw new TypeError(
      `Cannot ${what} as flags must be a list of strings: received ${
        inspect(flags)
      }`,
    );
  }
  for (const flag of flags as readonly string[]) {
    if (!LONG_FLAG.test(flag) && !SHORT_FLAG.test(flag)) continue;
    throw new TypeError(
      `Cannot ${what} as flags must not give or take permissions, which is up to the option permissions: received ${
        inspect(flag)
      }`,
    );
  }
}

/** Throws unless `permissions` are some. */
export function checkPermissions(
  permissions: unknown,
  what: string,
): asserts permissions is ProcessPermissions {
  if (typeof permissions !== "object" || permissions === null) {
    throw new TypeError(
      `Cannot ${what} as permissions must be an object: received ${
        inspect(permissions)
      }`,
    );
  }
  for (const [name, grant] of Object.entries(permissions)) {
    if (!isName(name)) {
      const list = NAMES.map((known) => `"${known}"`).join(", ");
      throw new TypeError(
        `Cannot ${what} as permissions may have ${list}: received "${name}"`,
      );
    }
    if (grant === undefined) continue;
    if (!isGrant(grant)) {
      throw new TypeError(
        `Cannot ${what} as permissions.${name} must be a boolean or a list of strings and URLs: received ${
          inspect(grant)
        }`,
      );
    }
    if (typeof grant !== "boolean") checkItems(name, grant, what);
  }
}

function isName(name: string): name is typeof NAMES[number] {
  return NAMES.some((known) => known === name);
}

/** Throws unless the runtime takes the items of a list: it ends with a message that nobody may see. */
function checkItems(
  name: typeof NAMES[number],
  items: readonly (string | URL)[],
  what: string,
): void {
  for (const item of items) {
    if (item === "") {
      throw new TypeError(
        `Cannot ${what} as permissions.${name} must hold no empty strings: received ""`,
      );
    }
    if (typeof item === "string") {
      checkText(name, item, item, what);
      continue;
    }
    if (!WITH_PATHS.has(name)) {
      throw new TypeError(
        `Cannot ${what} as permissions.${name} must hold strings only: received ${item.href}`,
      );
    }
    if (item.protocol !== "file:") {
      throw new TypeError(
        `Cannot ${what} as URLs of permissions.${name} must be those of files: received ${item.href}`,
      );
    }
    checkText(name, textOf(item), item.href, what);
  }
}

/** Throws if the text of an item cannot be in a list: the runtime knows no way to write a comma. */
function checkText(
  name: string,
  text: string,
  item: string,
  what: string,
): void {
  if (!text.includes(",") && !text.includes("\0")) return;
  throw new TypeError(
    `Cannot ${what} as permissions.${name} must hold neither commas nor zero characters, which no flag can carry: received ${
      inspect(item)
    }`,
  );
}

function isGrant(grant: unknown): grant is PermissionGrant {
  if (typeof grant === "boolean") return true;
  return Array.isArray(grant) &&
    grant.every((item) => typeof item === "string" || item instanceof URL);
}

/** Text of an item in the list of a flag. */
function textOf(item: string | URL): string {
  if (!(item instanceof URL)) return item;
  try {
    return decodeURIComponent(item.pathname);
  } catch {
    return item.pathname; // what is no escape is itself
  }
}

/**
 * Returns the flags of `deno run` for permissions. The child never asks.
 *
 * @param permissions Permissions of the jobs.
 * @param own Files that the child needs for itself.
 */
export function permissionFlags(
  permissions: ProcessPermissions,
  own: { readonly read: readonly string[]; readonly write: readonly string[] },
): string[] {
  const flags = ["--no-prompt"];
  for (const name of NAMES) {
    const grant = permissions[name] ?? false;
    if (grant === true) {
      flags.push(`--allow-${name}`);
      continue;
    }
    const list = grant === false ? [] : grant.map(textOf);
    if (name === "read" || name === "write") list.push(...own[name]);
    if (list.length > 0) flags.push(`--allow-${name}=${list.join(",")}`);
    else if (name === "import" && permissions.import !== undefined) {
      flags.push("--deny-import"); // without a flag some hosts are allowed
    }
  }
  return flags;
}
