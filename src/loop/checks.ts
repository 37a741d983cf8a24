/**
 * Checks of arguments, and the messages of the errors that they throw.
 *
 * @module
 */
/** Throws unless `value` is a function; `what` names the refused action in the message. */
export function checkFunction(
  value: unknown,
  what: string,
  name: string,
): void {
  if (typeof value !== "function") {
    throw new TypeError(
      `Cannot ${what} as ${name} must be a function: received ${
        inspect(value)
      }`,
    );
  }
}

/** Kinds of functions that do nothing when they are called as a callback: calling them only makes a generator. */
const GENERATOR_KIND = /^\[object (Async)?GeneratorFunction\]$/;

/**
 * Throws unless `value` is a function whose call runs it: a generator function,
 * called as a callback, would never begin.
 */
export function checkPlainFunction(
  value: unknown,
  what: string,
  name: string,
): void {
  checkFunction(value, what, name);
  if (GENERATOR_KIND.test(Object.prototype.toString.call(value))) {
    const named = (value as { name: string }).name;
    throw new TypeError(
      `Cannot ${what} as ${name} must be a plain function: received ${
        named === "" ? "a generator function" : `generator function ${named}`
      }, use createTask() in one`,
    );
  }
}

/** Throws unless `value` is a string. */
export function checkString(value: unknown, what: string, name: string): void {
  if (typeof value !== "string") {
    throw new TypeError(
      `Cannot ${what} as ${name} must be a string: received ${inspect(value)}`,
    );
  }
}

/** Throws unless `value` is an object, as options have to be. */
export function checkOptions(
  value: unknown,
  what: string,
  name = "options",
): void {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(
      `Cannot ${what} as ${name} must be an object: received ${inspect(value)}`,
    );
  }
}

/** Throws unless `value` is a number other than `NaN`; `unit` is what it counts, "" for nothing. */
export function checkNumber(
  value: unknown,
  what: string,
  name: string,
  unit = "milliseconds",
): void {
  if (typeof value !== "number") {
    const kind = unit === "" ? "a number" : `a number of ${unit}`;
    throw new TypeError(
      `Cannot ${what} as ${name} must be ${kind}: received ${inspect(value)}`,
    );
  }
  if (Number.isNaN(value)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must not be NaN: received NaN`,
    );
  }
}

/** Throws unless `value` is a number >= 0; `Infinity` is allowed. */
export function checkNotNegative(
  value: unknown,
  what: string,
  name: string,
  unit?: string,
): void {
  checkNumber(value, what, name, unit);
  if (!((value as number) >= 0)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be >= 0: received ${value}`,
    );
  }
}

/** Throws unless `value` is one of `allowed`. */
export function checkOneOf(
  value: unknown,
  allowed: readonly unknown[],
  what: string,
  name: string,
): void {
  if (!allowed.includes(value)) {
    const list = allowed.map((choice) => inspect(choice)).join(", ");
    throw new TypeError(
      `Cannot ${what} as ${name} must be one of ${list}: received ${
        inspect(value)
      }`,
    );
  }
}

/** Throws unless `value` is an `AbortSignal` or `undefined`. */
export function checkSignal(value: unknown, what: string): void {
  if (value !== undefined && !isSignal(value)) {
    throw new TypeError(
      `Cannot ${what} as signal must be an AbortSignal: received ${
        inspect(value)
      }`,
    );
  }
}

/** Whether the runtime takes it as a signal: an object that only has the prototype of one throws when it is used. */
function isSignal(value: unknown): boolean {
  if (!(value instanceof AbortSignal)) return false;
  try {
    return typeof value.aborted === "boolean";
  } catch {
    return false;
  }
}

/** Returns the signal of the options of a wait. Throws if the options or the signal are wrong; both may be missing. */
export function checkWaitOptions(
  options: { readonly signal?: AbortSignal | undefined } | undefined,
  what: string,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  checkOptions(options, what);
  const { signal } = options;
  checkSignal(signal, what);
  return signal;
}

const GeneratorFunctionPrototype = Object.getPrototypeOf(function* () {});

/** Whether calling `body` only makes a generator. */
export function isGeneratorFunction(body: unknown): boolean {
  return Object.getPrototypeOf(body) === GeneratorFunctionPrototype;
}

/** Whether `value` has a `then` to be waited for. Throws what a getter throws. */
export function isThenable(value: unknown): value is PromiseLike<never> {
  return (typeof value === "object" || typeof value === "function") &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

/** Whether `value` can be stepped like a generator. Futures and operations can, too. */
export function isSteppable(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    typeof (value as { next?: unknown }).next === "function" &&
    typeof (value as { throw?: unknown }).throw === "function";
}

/** Returns a short description of a wrong argument. */
export function inspect(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") {
    return value.name === "" ? "a function" : `function ${value.name}`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  if (typeof (value as { then?: unknown }).then === "function") {
    return "a promise";
  }
  if (Array.isArray(value)) return "an array";
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === "string" && name !== "Object" && name !== ""
    ? `an object of class ${name}`
    : "an object";
}

/** Throws unless `value` is an integer >= `min`, or `Infinity` where that is allowed. */
export function checkInteger(
  value: unknown,
  min: number,
  what: string,
  name: string,
  orInfinity: "or Infinity" | "" = "",
): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${what} as ${name} must be a number: received ${inspect(value)}`,
    );
  }
  if (orInfinity !== "" && value === Infinity) return;
  if (!(Number.isInteger(value) && value >= min)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be an integer >= ${min}${
        orInfinity && ` ${orInfinity}`
      }: received ${value}`,
    );
  }
}

/** Throws unless `value` has all `methods`; `name` is that of the argument, `kind` what it has to be. */
export function checkHas(
  value: unknown,
  methods: readonly string[],
  what: string,
  name: string,
  kind: string,
): void {
  const isObject = typeof value === "object" && value !== null ||
    typeof value === "function";
  if (
    isObject &&
    methods.every((method) => typeof Reflect.get(value, method) === "function")
  ) return;
  throw new TypeError(
    `Cannot ${what} as ${name} must be ${kind}: received ${inspect(value)}`,
  );
}
