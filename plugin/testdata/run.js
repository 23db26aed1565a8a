// Runs the program in this folder, compiled, from nothing to nothing.
//
// The Node.js language host is part of the official CLI alone; the Automation
// API runs the same program, engine and plugin without it.
const path = require("node:path");
const { createRequire } = require("node:module");

const load = createRequire(path.resolve("package.json"));
const { LocalWorkspace } = load("@pulumi/pulumi/automation");

async function main() {
    const stack = await LocalWorkspace.createOrSelectStack({
        stackName: "dev",
        projectName: "kms-baseline-typescript",
        program: async () => {
            delete load.cache[load.resolve("./bin/index.js")]; // anew for every operation
            return load("./bin/index.js");
        },
    });
    for (const [name, value] of Object.entries(JSON.parse(process.argv[2]))) {
        await stack.setConfig(name, { value });
    }
    const onOutput = (text) => process.stderr.write(text);
    const { outputs } = await stack.up({ onOutput });
    await stack.preview({ refresh: true, expectNoChanges: true, onOutput });
    await stack.destroy({ onOutput });
    console.log(JSON.stringify(Object.fromEntries(Object.entries(outputs).map(([name, { value }]) => [name, value]))));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
