import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What Peer measures: the twin of tests/peer/figures.rs. */
final class Figures {
    private static final int WARM_UP = 200;

    private Figures() {
    }

    /** How long it takes to consume so many messages that are there, from the first one on. */
    static void drain(Peer peer) throws Exception {
        int count = peer.number("count", 1);
        CountDownLatch left = new CountDownLatch(count);
        AtomicLong first = new AtomicLong();
        DefaultMQPushConsumer consumer = peer.consumer(peer.get("instance"));
        if (peer.is("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                count(messages, first, left);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                count(messages, first, left);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        left.await();
        Peer.say("drained", (System.nanoTime() - first.get()) / 1_000);
        consumer.shutdown();
    }

    private static void count(List<MessageExt> messages, AtomicLong first, CountDownLatch left) {
        first.compareAndSet(0, System.nanoTime());
        for (int i = 0; i < messages.size(); i++) {
            left.countDown();
        }
    }

    /** How long a message takes from the send to the listener, one every so many microseconds. */
    static void latency(Peer peer) throws Exception {
        int count = peer.number("count", 1);
        long[] sentAt = new long[count + WARM_UP];
        long[] tookUs = new long[count];
        CountDownLatch left = new CountDownLatch(count + WARM_UP);
        DefaultMQPushConsumer consumer = peer.consumer(peer.get("instance"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            long now = System.nanoTime();
            for (MessageExt message : messages) {
                int number = Integer.parseInt(Peer.body(message));
                if (number >= WARM_UP) {
                    tookUs[number - WARM_UP] = (now - sentAt[number]) / 1_000;
                }
                left.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = peer.start(new DefaultMQProducer(peer.get("group") + "-producers"));
        for (int number = 0; number < count + WARM_UP; number++) {
            byte[] body = Integer.toString(number).getBytes(StandardCharsets.UTF_8);
            sentAt[number] = System.nanoTime();
            producer.send(new Message(peer.get("topic"), body));
            Thread.sleep(2);
        }
        left.await();
        Arrays.sort(tookUs);
        Peer.say("latency", tookUs[count / 2], tookUs[count * 99 / 100]);
        producer.shutdown();
        consumer.shutdown();
    }

    /** How long it takes from the start of the last one of many members, and again from the leave of one. */
    static void members(Peer peer) throws Exception {
        int members = peer.number("members", 1);
        int queues = peer.number("queues", 1);
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        AtomicInteger got = new AtomicInteger();
        for (int member = 0; member < members; member++) {
            DefaultMQPushConsumer consumer = peer.consumer(peer.get("instance") + member);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                got.addAndGet(messages.size());
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumers.add(consumer);
        }
        for (DefaultMQPushConsumer consumer : consumers.subList(1, members)) {
            consumer.start();
        }
        divided(peer, consumers.subList(1, members), queues);
        long begin = System.nanoTime();
        consumers.get(0).start();
        divided(peer, consumers, queues);
        Peer.say("joined", (System.nanoTime() - begin) / 1_000);
        begin = System.nanoTime();
        consumers.remove(0).shutdown();
        divided(peer, consumers, queues);
        Peer.say("parted", (System.nanoTime() - begin) / 1_000);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
    }

    /** Waits until every queue has one owner and nobody has two more than another. */
    private static void divided(Peer peer, List<DefaultMQPushConsumer> consumers, int queues) throws Exception {
        while (true) {
            List<String> owned = new ArrayList<>();
            boolean even = true;
            for (DefaultMQPushConsumer consumer : consumers) {
                String of = Peer.owned(consumer, peer.get("topic"));
                List<String> its = of.isEmpty() ? List.of() : Arrays.asList(of.split(","));
                even &= its.size() >= queues / consumers.size();
                owned.addAll(its);
            }
            if (even && owned.size() == queues && owned.stream().distinct().count() == queues) {
                return;
            }
            Thread.sleep(1);
        }
    }
}
