const express = require("express");
const os = require("os");

const app = express();

app.get("/", (request, response) => {
  const job = process.env.SLIPWAY_JOB || os.hostname();
  const greeting = process.env.GREETING || "Hello";
  response.type("text").send(`${greeting} from Node.js, job ${job}\n`);
});

const server = app.listen(process.env.PORT || 3000, () => console.log(`listening on ${server.address().port}`));
process.on("SIGTERM", () => server.close());
