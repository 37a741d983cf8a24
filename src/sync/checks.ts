import { inspect } from "../loop/checks.ts";

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
