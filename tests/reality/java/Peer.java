import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.RPCHook;

/**
 * A client of Apache RocketMQ as a process: the twin of tests/peer, which is ours, with the same command line
 * (a mode, then name=value) and the same lines on standard output. It leaves in order when its standard input ends.
 */
public final class Peer {
    private static final long SAMPLE_EVERY_MS = 20;

    private final Map<String, String> args = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        Peer peer = new Peer();
        for (int i = 1; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            peer.args.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        // Before the client's classes look.
        System.setProperty("tls.enable", peer.args.getOrDefault("tls", "false"));
        switch (arguments[0]) {
            case "consume":
                peer.consume();
                break;
            case "send":
                peer.send();
                break;
            case "transact":
                peer.transact();
                break;
            case "request":
                peer.request();
                break;
            case "drain":
                Figures.drain(peer);
                break;
            case "latency":
                Figures.latency(peer);
                break;
            case "members":
                Figures.members(peer);
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
        // Threads of the client may still be there.
        System.exit(0);
    }

    String get(String name) {
        String value = args.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return value;
    }

    int number(String name, int otherwise) {
        return args.containsKey(name) ? Integer.parseInt(args.get(name)) : otherwise;
    }

    boolean is(String name) {
        return "true".equals(args.get(name));
    }

    /** A line: its word, when it is said, and what follows. */
    static synchronized void say(String word, Object... fields) {
        StringBuilder line = new StringBuilder(word).append('\t').append(System.currentTimeMillis());
        for (Object field : fields) {
            line.append('\t').append(field);
        }
        System.out.println(line);
        System.out.flush();
    }

    static void waitForEnd() throws IOException {
        while (System.in.read() >= 0) {
        }
    }

    static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** What signs its requests, if it has an account. */
    private RPCHook credentials() {
        return args.containsKey("access_key")
            ? new AclClientRPCHook(new SessionCredentials(get("access_key"), get("secret_key"))) : null;
    }

    DefaultMQPushConsumer consumer(String instance) throws Exception {
        DefaultMQPushConsumer consumer =
            new DefaultMQPushConsumer(get("group"), credentials(), new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(get("namesrv"));
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(number("max", -1));
        if (args.containsKey("sql")) {
            consumer.subscribe(get("topic"), MessageSelector.bySql(get("sql")));
        } else {
            consumer.subscribe(get("topic"), args.getOrDefault("tags", "*"));
        }
        return consumer;
    }

    <P extends DefaultMQProducer> P start(P producer) throws Exception {
        producer.setNamesrvAddr(get("namesrv"));
        producer.setInstanceName(get("instance") + "-producer");
        producer.setSendMsgTimeout(10_000);
        producer.start();
        return producer;
    }

    /** Consumes, and says what it is given and which queues it owns. */
    private void consume() throws Exception {
        DefaultMQPushConsumer consumer = consumer(get("instance"));
        DefaultMQProducer replies = is("reply") ? start(new DefaultMQProducer(get("group") + "-replies")) : null;
        int fail = number("fail", 0);
        if (is("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) ->
                take(messages, replies, fail)
                    ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                take(messages, replies, fail)
                    ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumer.start();
        say("ready");
        Thread owned = new Thread(() -> sayWhatIsOwned(consumer));
        owned.setDaemon(true);
        owned.start();
        waitForEnd();
        consumer.shutdown();
        say("owns", "");
        say("left");
    }

    /** Says what came. Whether it is consumed: a message fails until it was given back so often. */
    private static boolean take(List<MessageExt> messages, DefaultMQProducer replies, int fail) {
        boolean consumed = true;
        for (MessageExt message : messages) {
            say("got", message.getTopic(), message.getQueueId(), message.getQueueOffset(),
                message.getReconsumeTimes(), body(message),
                MessageDecoder.messageProperties2String(message.getProperties()));
            consumed &= message.getReconsumeTimes() >= fail;
            if (replies != null) {
                try {
                    byte[] reply = ("re: " + body(message)).getBytes(StandardCharsets.UTF_8);
                    replies.send(MessageUtil.createReplyMessage(message, reply));
                } catch (Exception e) {
                    say("failed", e);
                }
            }
        }
        return consumed;
    }

    /** The queues of the subscribed topic that a consumer owns, sorted. */
    static String owned(DefaultMQPushConsumer consumer, String topic) {
        TreeSet<String> owned = new TreeSet<>();
        consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().forEach((queue, held) -> {
            if (queue.getTopic().equals(topic) && !held.isDropped()) {
                owned.add(queue.getBrokerName() + "/" + queue.getQueueId());
            }
        });
        return String.join(",", owned);
    }

    private void sayWhatIsOwned(DefaultMQPushConsumer consumer) {
        String before = "";
        while (true) {
            String now = owned(consumer, get("topic"));
            if (!now.equals(before)) {
                say("owns", now);
                before = now;
            }
            try {
                Thread.sleep(SAMPLE_EVERY_MS);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    /** Message number {@code number} of those that are sent. */
    private Message message(int number) {
        String body = get("prefix") + number + "x".repeat(number("pad", 0));
        Message message =
            new Message(get("topic"), "Tag" + number % 2, "key" + number, body.getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("number", Integer.toString(number));
        return message;
    }

    private static void saySent(SendResult sent, String body) {
        say("sent", sent.getSendStatus(), sent.getMsgId(), sent.getOffsetMsgId(),
            sent.getMessageQueue().getQueueId(), sent.getQueueOffset(), body);
    }

    /** Sends one by one, as a batch, or by the hash of a key. */
    private void send() throws Exception {
        System.setProperty("rocketmq.message.compressType", args.getOrDefault("compress", "ZLIB"));
        DefaultMQProducer producer = start(new DefaultMQProducer(get("group"), credentials()));
        List<Message> batch = new ArrayList<>();
        for (int number = 0; number < number("count", 1); number++) {
            Message message = message(number);
            if (is("batch")) {
                batch.add(message);
            } else if (args.containsKey("keys")) {
                String key = "order" + number % number("keys", 1);
                saySent(producer.send(message, new SelectMessageQueueByHash(), key), body(message));
            } else {
                try {
                    saySent(producer.send(message), body(message));
                } catch (MQClientException e) {
                    // Who has an account may have the wrong one.
                    if (!args.containsKey("access_key") || e.getCause() == null) {
                        throw e;
                    }
                    say("refused", e.getCause().getMessage().replace('\n', ' '));
                }
            }
        }
        if (!batch.isEmpty()) {
            saySent(producer.send(batch), get("prefix"));
        }
        producer.shutdown();
        say("left");
    }

    /** Sends messages in transactions that end as their bodies say, and answers the broker's questions. */
    private void transact() throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(get("group"));
        LocalTransactionState answer = state(get("check"));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                return state(body(message));
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                say("checked", body(message), message.getTransactionId(), message.getMsgId(),
                    MessageDecoder.messageProperties2String(message.getProperties()));
                return answer;
            }
        });
        start(producer);
        for (String body : get("bodies").split(",")) {
            Message message = new Message(get("topic"), body.getBytes(StandardCharsets.UTF_8));
            saySent(producer.sendMessageInTransaction(message, null), body);
        }
        say("ready");
        waitForEnd();
        producer.shutdown();
        say("left");
    }

    private static LocalTransactionState state(String text) {
        if (text.startsWith("commit")) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }
        return text.startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
    }

    /** Sends requests and says what is replied. */
    private void request() throws Exception {
        DefaultMQProducer producer = start(new DefaultMQProducer(get("group")));
        for (int number = 0; number < number("count", 1); number++) {
            Message reply = producer.request(message(number), 20_000);
            say("replied", body(reply));
        }
        producer.shutdown();
        say("left");
    }
}
