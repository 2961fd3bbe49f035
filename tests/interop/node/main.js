// A client in JavaScript, of the package that it is told to take: arguments, features and lines are those of
// ../go/main.go, with package=ali-ons or package=rocketmq.
'use strict';

const args = Object.fromEntries(process.argv.slice(2).map(arg => {
  const at = arg.indexOf('=');
  return [arg.slice(0, at), arg.slice(at + 1)];
}));
const { Producer, Consumer, Message } = require(args.package);
const isOld = args.package === 'rocketmq';
// The older package takes generators, and waits for promises in them.
const co = require('co');
const call = (object, name, ...values) => {
  const result = object[name](...values);
  return result && typeof result.next === 'function' ? co(result) : Promise.resolve(result);
};

const WITHIN_MS = 60000;
const SETTLE_MS = 1500;
const sleep = ms => new Promise(done => setTimeout(done, ms));
const say = (word, ...fields) => {
  const texts = [word, Date.now(), ...fields].map(field => String(field).replace(/[\t\n]/g, ' '));
  process.stdout.write(texts.join('\t') + '\n');
};
const quiet = () => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };

class Feature {
  constructor(name) {
    this.name = name;
    this.topic = `${args.topic}-${name}`;
    this.count = 0;
    this.keys = new Set();
    this.acknowledged = [];
    this.open = [];
  }

  options(role) {
    const options = {
      namesrvAddr: args.namesrv, nameSrv: args.namesrv, onsAddr: isOld ? 'unused' : undefined, httpclient: {},
      clientIP: '127.0.0.1', instanceName: `${args.instance}-${this.name}-${role}`, logger,
      producerGroup: `${args.group}-${this.name}-send`, consumerGroup: `${args.group}-${this.name}-read`,
      consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET', rebalanceInterval: 1000,
    };
    if (args.access_key) Object.assign(options, { accessKey: args.access_key, secretKey: args.secret_key });
    return options;
  }

  async producer(more) {
    const producer = new Producer({ ...this.options('send'), ...more });
    producer.on('error', error => say('error', this.name, error.message));
    this.open.push(producer);
    await call(producer, 'ready');
    return producer;
  }

  async consumer(role, tags, listen, more) {
    const consumer = new Consumer({ ...this.options(role), ...more });
    // A message that is to be given back is reported as an error, too.
    consumer.on('error', error => {
      if (!error.message.includes('give it back')) say('error', this.name, error.message);
    });
    this.open.push(consumer);
    // eslint-disable-next-line require-yield
    const take = isOld ? function* (message) { listen(message); } : async message => listen(message);
    consumer.subscribe(this.topic, tags, take);
    await call(consumer, 'ready');
    return consumer;
  }

  got(message) {
    this.count++;
    this.keys.add(message.keys);
    const { keys, tags, body, reconsumeTimes, properties } = message;
    say('got', this.name, keys, tags, body.toString(), reconsumeTimes, properties.color);
  }

  async send(producer, number, edit = quiet) {
    const key = `${this.name}${number}`;
    const message = new Message(this.topic, `Tag${number % 2}`, `body ${number}`);
    message.keys = [key];
    message.properties.color = `color ${number}`;
    edit(message);
    try {
      const { sendStatus } = await call(producer, 'send', message);
      say('sent', this.name, key, sendStatus);
      if (sendStatus === 'SEND_OK') this.acknowledged.push(key);
    } catch (error) {
      say('error', this.name, `send ${key}: ${error.message}`);
    }
  }

  // Sends so many, one after the other.
  async sendAll(count, edit) {
    const producer = await this.producer();
    for (let number = 0; number < count; number++) await this.send(producer, number, m => edit && edit(m, number));
    return producer;
  }

  // Waits until it was given so much, and then whether more comes.
  async wait(count) {
    const end = Date.now() + WITHIN_MS;
    while (this.count < count && Date.now() < end) await sleep(10);
    if (this.count < count) say('error', this.name, `not everything within ${WITHIN_MS} ms`);
    await sleep(SETTLE_MS);
  }
}

const features = {
  async send(f) {
    await f.consumer('read', 'Tag0', m => f.got(m));
    await f.sendAll(6);
    await f.wait(3);
  },

  async delayed(f) {
    await f.consumer('read', '*', m => f.got(m));
    await f.sendAll(3, (message, number) => { message.delayTimeLevel = 1 + number; });
    await f.wait(3);
  },

  // A consumer in memory begins where the queue ends, so that it is there before the messages.
  async broadcast(f) {
    await f.consumer('one', '*', m => f.got(m), { isBroadcast: true });
    await f.consumer('two', '*', m => f.got(m), { isBroadcast: true });
    await f.sendAll(3);
    await f.wait(6);
  },

  async retry(f) {
    await f.consumer('read', '*', message => {
      f.got(message);
      if (message.reconsumeTimes < 2) throw new Error('give it back');
    });
    await f.sendAll(2);
    await f.wait(6);
  },

  async denied(f) {
    await f.sendAll(1);
  },

  // Sends and consumes until it is told to end, and then consumes what was acknowledged.
  async hold(f) {
    let ended = false;
    process.stdin.on('end', () => { ended = true; }).resume();
    await f.consumer('read', '*', m => f.got(m));
    const producer = await f.producer();
    for (let number = 0; !ended; number++) {
      await f.send(producer, number);
      await sleep(5);
    }
    const end = Date.now() + WITHIN_MS;
    while (!f.acknowledged.every(key => f.keys.has(key)) && Date.now() < end) await sleep(10);
  },
};

async function main() {
  const all = args.features.split(',').map(name => new Feature(name));
  await Promise.all(all.map(async f => {
    try {
      await features[f.name](f);
    } catch (error) {
      say('error', f.name, error.message);
    }
  }));
  // The clients of one process share connections: none ends before all are done.
  for (const client of all.flatMap(f => f.open)) {
    if (client.close) await Promise.race([call(client, 'close').catch(quiet), sleep(1000)]);
  }
  say('left');
  process.exit(0);
}

main();
