/**
 * Looks at TypeScript source as text: which part of it is code, and which
 * modules it names.
 *
 * This is no parser. It knows comments, strings, templates and regular
 * expressions, and that is all the tests of the tree need. One guess is made:
 * a slash divides if the token before it can end an expression. After `)`, `]`
 * and `}` it is taken for a division, so `if (x) /re/.test(y)` is read wrongly
 * (write it with braces).
 *
 * @module
 */

/** A module that a source file names. */
export interface ImportedModule {
  /** What stands between the quotes. */
  readonly specifier: string;
  /** Whether the import is gone once the types are stripped. */
  readonly typeOnly: boolean;
  /** Whether it is an `import(…)`, run when it is reached. */
  readonly dynamic: boolean;
  /** Counted from 1. */
  readonly line: number;
}

const WORD = /[\p{ID_Start}$_\u200c\u200d][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER = /\d[\w.]*/y;
const REGEXP = /\/(?:[^\\/[\n]|\\.|\[(?:[^\\\]\n]|\\.)*\])+\/[a-z]*/y;

// After these words an expression begins, so a slash begins a pattern.
const BEFORE_EXPRESSION = new Set(
  ("await case delete do else in instanceof new of return throw typeof void " +
    "yield").split(" "),
);

/**
 * Returns `source` with blanks in place of comments, patterns and the contents
 * of strings and templates. Quotes, line ends and the code between `${` and `}`
 * stay, and so does the offset of every character.
 */
export function codeOf(source: string): string {
  const out = source.split("");
  const blank = (from: number, to: number) => {
    for (let i = from; i < to; i++) if (out[i] !== "\n") out[i] = " ";
  };
  const match = (pattern: RegExp, at: number): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  // For each open `${`, how many braces are open inside of it.
  const templates: number[] = [];
  let expressionEnded = false;
  let at = 0;

  const skipTemplate = () => { // `at` is behind "`" or "}"
    const from = at;
    while (at < source.length) {
      if (source[at] === "\\") at += 2;
      else if (source[at] === "`") {
        blank(from, at++);
        expressionEnded = true;
        return;
      } else if (source.startsWith("${", at)) {
        blank(from, at);
        at += 2;
        templates.push(0);
        expressionEnded = false;
        return;
      } else at++;
    }
    blank(from, source.length);
  };

  if (source.startsWith("#!")) {
    at = endOf(source, "\n", 0);
    blank(0, at);
  }
  while (at < source.length) {
    const char = source.charAt(at);
    const start = at;
    let found: string | undefined;
    if (source.startsWith("//", at)) {
      at = endOf(source, "\n", at);
      blank(start, at);
    } else if (source.startsWith("/*", at)) {
      at = Math.min(endOf(source, "*/", at + 2) + 2, source.length);
      blank(start, at);
    } else if (char === '"' || char === "'") {
      at++;
      while (at < source.length && source[at] !== char && source[at] !== "\n") {
        at += source[at] === "\\" ? 2 : 1;
      }
      blank(start + 1, Math.min(at, source.length));
      at++;
      expressionEnded = true;
    } else if (char === "`") {
      at++;
      skipTemplate();
    } else if (char === "}" && templates.at(-1) === 0) {
      templates.pop();
      at++;
      skipTemplate();
    } else if (
      char === "/" && !expressionEnded &&
      (found = match(REGEXP, at)) !== undefined
    ) {
      at += found.length;
      blank(start, at);
      expressionEnded = true;
    } else if ((found = match(NUMBER, at)) !== undefined) {
      at += found.length;
      expressionEnded = true;
    } else if ((found = match(WORD, at)) !== undefined) {
      at += found.length;
      const isMember = source[start - 1] === "." && source[start - 2] !== ".";
      expressionEnded = isMember || !BEFORE_EXPRESSION.has(found);
    } else {
      if (templates.length > 0 && (char === "{" || char === "}")) {
        templates.push((templates.pop() ?? 0) + (char === "{" ? 1 : -1));
      }
      if (!/\s/.test(char)) {
        expressionEnded = char === ")" || char === "]" || char === "}" ||
          source.startsWith("++", at - 1) || source.startsWith("--", at - 1);
      }
      at++;
    }
  }
  return out.join("");
}

function endOf(source: string, mark: string, from: number): number {
  const at = source.indexOf(mark, from);
  return at < 0 ? source.length : at;
}

/** The line on which the character at `offset` stands, counted from 1. */
export function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split("\n").length;
}

// On blanked text: strings are empty but for their width.
const STATIC_IMPORT =
  /(?<![\w$.#])(import|export)(\s+type(?!\s+from\b|\s*,))?(?:\s*(["'])|[\s{*]([\w\s{},*$]*)\bfrom\s*(["']))/gd;
const DYNAMIC_IMPORT = /(?<![\w$.#])import\s*\(\s*(["'`])/gd;

/** Every module that `source` names with a literal, in the order of the text. */
export function importsOf(source: string): ImportedModule[] {
  const code = codeOf(source);
  const found: (ImportedModule & { offset: number })[] = [];
  const add = (match: RegExpExecArray, group: number, typeOnly: boolean) => {
    const quote = match.indices?.[group];
    if (quote === undefined) return;
    const end = code.indexOf(match[group] ?? "", quote[1]);
    found.push({
      specifier: source.slice(quote[1], end),
      typeOnly,
      dynamic: match[0].includes("("),
      line: lineAt(source, match.index),
      offset: match.index,
    });
  };
  for (const match of code.matchAll(STATIC_IMPORT)) {
    add(match, match[3] === undefined ? 5 : 3, match[2] !== undefined);
  }
  for (const match of code.matchAll(DYNAMIC_IMPORT)) add(match, 1, false);
  return found.sort((a, b) => a.offset - b.offset)
    .map(({ offset: _, ...module }) => module);
}
