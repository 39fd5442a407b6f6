// What the client programs share: `node PROGRAM.js node|cluster PORT...`, "ok" as the last line when all is well.
'use strict';

const [mode, ...words] = process.argv.slice(2);
const ports = words.map(Number);

// Runs the program's body and ends the process, whatever timers and sockets are left.
function run(body) {
  const watchdog = setTimeout(() => {
    console.error('not done after 20 seconds');
    process.exit(1);
  }, 20000);
  body({ isCluster: mode === 'cluster', ports }).then(() => {
    clearTimeout(watchdog);
    console.log('ok');
    process.exit(0);
  }, (error) => {
    console.error(error);
    process.exit(1);
  });
}

// Resolves when `claim()` is true.
async function waitFor(claim, what) {
  const deadline = Date.now() + 5000;
  while (!claim()) {
    if (Date.now() > deadline) throw new Error(`not so after 5 seconds: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

module.exports = { run, waitFor };
