// Judge: asl-validator over a definition with its substitutions filled. `definition.js <definition>` prints findings as JSON.
"use strict";
const fs = require("fs");
const path = require("path");
const modules = path.resolve(__dirname, "../../.tools/npm/node_modules");
const validate = require(path.join(modules, "asl-validator"));

const definition = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const { errors } = validate(definition, { checkPaths: true, checkArn: true });
const findings = (errors || []).map((error) => ({
  check: error["Error code"] || error.keyword || "invalid",
  resource: error.instancePath || "definition",
  message: error.Message || error.message || JSON.stringify(error),
}));
process.stdout.write(JSON.stringify({ checked: Object.keys(definition.States).length, findings }));
