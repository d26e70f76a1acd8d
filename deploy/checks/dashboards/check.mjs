// check.mjs DASHBOARD.json...: are these dashboards what Grafana's published types say?
// Each dashboard, panel and panel's options becomes a literal of its type, so that a key which does
// not exist is an error too. Exit 1, with what is wrong.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import ts from "typescript";

const OPTIONS = "node_modules/@grafana/schema/dist/esm/raw/composable";
// In JSON the members of an enum are their values.
const HEAD = `import type { Dashboard, Panel } from "@grafana/schema";
type Json<T> = T extends string ? (string extends T ? T : \`\${T}\`)
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
`;

const folder = mkdtempSync(join(process.cwd(), "literals-"));
let faults = 0;
try {
  const files = process.argv.slice(2).map(literalsOf);
  const program = ts.createProgram(files, {
    strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, types: [],
  });
  for (const found of ts.getPreEmitDiagnostics(program)) {
    faults += 1;
    const text = found.file?.text.slice(0, found.start) ?? "";
    const where = [...text.matchAll(/^\/\/ (.*)$/gm)].pop()?.[1] ?? "types";
    console.log(`${where}: ${ts.flattenDiagnosticMessageText(found.messageText, " ").slice(0, 300)}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`${process.argv.length - 2} dashboards, ${faults} faults`);
process.exit(faults ? 1 : 0);

function literalsOf(path, n) {
  const { panels, ...rest } = JSON.parse(readFileSync(path, "utf8"));
  const parts = [HEAD, literal(basename(path), "whole", 'Omit<Dashboard, "panels">', rest)];
  panels.forEach((panel, i) => {
    const name = `${basename(path)}, panel ${JSON.stringify(panel.title)}`;
    parts.push(literal(name, `panel${i}`, "Panel", panel));
    const types = optionTypes(panel.type);
    if (!types) return;
    parts.push(`import type * as types${i} from "${types}";\n`);
    parts.push(literal(`${name}, options`, `options${i}`, `Partial<types${i}.Options>`, panel.options ?? {}));
  });
  const file = join(folder, `${n}.ts`);
  writeFileSync(file, parts.join(""));
  return file;
}

function literal(name, variable, type, value) {
  return `// ${name}\nexport const ${variable}: Json<${type}> = ${JSON.stringify(value, null, 1)};\n`;
}

function optionTypes(type) {
  const home = `${OPTIONS}/${type}/panelcfg/x`;
  const file = existsSync(home) && readdirSync(home).find((name) => name.endsWith(".d.ts"));
  return file ? `../${home}/${file.replace(/\.d\.ts$/, "")}` : null;
}
