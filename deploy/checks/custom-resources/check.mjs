// check.mjs < MANIFESTS.json: are these resources of KEDA and the Prometheus operator valid?
// Strictly: each is a literal of its published type, so that a field which does not exist is an error
// too; then the published schema looks at what a type cannot say. Exit 1, with what is wrong.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const PACKAGES = {
  "keda.sh/v1alpha1": "@kubernetes-models/keda",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator",
};

const manifests = JSON.parse(readFileSync(0, "utf8"));
const modules = manifests.map(({ apiVersion, kind }) => {
  if (!PACKAGES[apiVersion] || !/^\w+$/.test(kind)) throw new Error(`no type known for ${apiVersion} ${kind}`);
  return `${PACKAGES[apiVersion]}/${apiVersion}/${kind}`;
});
const faults = [...unknownFields(), ...await againstSchemas()];
for (const fault of faults) console.log(fault);
console.log(`${manifests.length} looked at, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);

function unknownFields() {
  const folder = mkdtempSync(join(process.cwd(), "literals-"));
  try {
    const files = manifests.map((manifest, n) => {
      const file = join(folder, `${n}.ts`);
      writeFileSync(file, `import type { I${manifest.kind} } from "${modules[n]}";\n` +
        `export const made: I${manifest.kind} = ${JSON.stringify(manifest, null, 1)};\n`);
      return file;
    });
    const program = ts.createProgram(files, {
      strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, types: [],
    });
    return ts.getPreEmitDiagnostics(program).map((found) => {
      const of = manifests[files.indexOf(found.file?.fileName)];
      return `${named(of)}: ${ts.flattenDiagnosticMessageText(found.messageText, " ").slice(0, 300)}`;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function againstSchemas() {
  const faults = [];
  for (const [n, manifest] of manifests.entries()) {
    const { [manifest.kind]: Kind } = await import(modules[n]);
    try {
      new Kind(manifest).validate();
    } catch (fault) {
      faults.push(`${named(manifest)}: ${fault.message}`);
    }
  }
  return faults;
}

function named(manifest) {
  return manifest ? `${manifest.kind} ${manifest.metadata?.name}` : "types";
}
