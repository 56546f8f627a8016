// Predicts an image and prints its objects: node predict.js HOST:PORT MODEL IMAGE
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const ROOT = path.join(__dirname, '..', '..');
const TIMEOUT_MS = 10_000;

function connect(address) {
  const definition = protoLoader.loadSync('protos/ocella/v1/vision.proto', {
    includeDirs: [ROOT],
    keepCase: true, // names as in the .proto
    longs: Number,
    arrays: true,
    oneofs: true, // `outcome` names which result came
  });
  const { Vision } = grpc.loadPackageDefinition(definition).ocella.v1;
  return new Vision(address, grpc.credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': 256 * 1024 * 1024,
  });
}

function predict(client, request) {
  return new Promise((resolve, reject) => {
    client.Predict(request, { deadline: Date.now() + TIMEOUT_MS }, (error, response) =>
      error ? reject(error) : resolve(response));
  });
}

function* lines(response) {
  const { width, height } = response.image;
  yield `${response.model} version ${response.version}, ${width}x${height}: ${response.outcome}`;
  if (response.outcome === 'classification') {
    const { labels, scores } = response.classification;
    yield* labels.map((label, i) => `${label} ${scores[i].toFixed(3)}`);
  } else if (response.outcome === 'detections') {
    // Columns, not rows: object i has entries 4i to 4i + 3 of `boxes`: left, top, right, bottom in pixels.
    const { labels, scores, boxes } = response.detections;
    for (let i = 0; i < scores.length; i += 1) {
      const box = boxes.slice(4 * i, 4 * i + 4).map((edge) => edge.toFixed(1)).join(' ');
      yield `${labels[i]} ${scores[i].toFixed(3)} ${box}`;
    }
  }
}

async function main([address, model, file]) {
  if (!file) {
    console.error('usage: node predict.js HOST:PORT MODEL IMAGE');
    process.exit(2);
  }
  const client = connect(address);
  try {
    const response = await predict(client, { model, image: fs.readFileSync(file) });
    for (const line of lines(response)) console.log(line);
  } catch (error) {
    console.error(`error: ${error.details || error.message}`);
    process.exitCode = 1;
  } finally {
    client.close();
  }
}

main(process.argv.slice(2));
