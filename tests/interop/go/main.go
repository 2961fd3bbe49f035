// A client in Go: runs the features that it is told to, at the same time, each with a topic and groups of its own,
// and says what it sent and was given: lines of a word, the time in ms, the feature, and fields, divided by tabs.
//
//	sent  FEATURE KEY STATUS
//	got   FEATURE KEY TAG BODY RECONSUMED PROPERTY
//	error FEATURE WHAT
//
// Arguments, NAME=VALUE: namesrv, topic, group, instance, features (divided by commas); access_key and secret_key.
// It ends when it is done, or "hold", which sends and consumes until then, when standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// What a feature waits for what it was sent, at most.
const within = 60 * time.Second

// Time for what should not come.
const settle = 1500 * time.Millisecond

var args = map[string]string{}

var output sync.Mutex

func say(word string, fields ...string) {
	output.Lock()
	defer output.Unlock()
	line := []string{word, strconv.FormatInt(time.Now().UnixMilli(), 10)}
	for _, field := range fields {
		line = append(line, strings.NewReplacer("\t", " ", "\n", " ").Replace(field))
	}
	fmt.Println(strings.Join(line, "\t"))
}

// One feature: names of its own, and how much it was given.
type feature struct {
	name  string
	lock  sync.Mutex
	count int
	keys  map[string]bool
}

func (f *feature) topic() string { return args["topic"] + "-" + f.name }

func (f *feature) group(role string) string { return args["group"] + "-" + f.name + "-" + role }

func (f *feature) instance(role string) string { return args["instance"] + "-" + f.name + "-" + role }

func (f *feature) failed(what string, err error) bool {
	if err != nil {
		say("error", f.name, what+": "+err.Error())
	}
	return err != nil
}

func (f *feature) got(message *primitive.MessageExt) {
	say("got", f.name, message.GetKeys(), message.GetTags(), string(message.Body),
		strconv.Itoa(int(message.ReconsumeTimes)), message.GetProperty("color"))
	f.lock.Lock()
	f.count++
	f.keys[message.GetKeys()] = true
	f.lock.Unlock()
}

// Waits until it was given so much, and then whether more comes.
func (f *feature) wait(count int) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		f.lock.Lock()
		enough := f.count >= count
		f.lock.Unlock()
		if enough {
			time.Sleep(settle)
			return
		}
	}
	say("error", f.name, "not everything within "+within.String())
}

func (f *feature) message(number int) *primitive.Message {
	message := primitive.NewMessage(f.topic(), []byte("body "+strconv.Itoa(number)))
	message.WithKeys([]string{f.name + strconv.Itoa(number)}).WithTag("Tag" + strconv.Itoa(number%2))
	message.WithProperty("color", "color "+strconv.Itoa(number))
	return message
}

func servers() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{args["namesrv"]})
}

func credentials() primitive.Credentials {
	return primitive.Credentials{AccessKey: args["access_key"], SecretKey: args["secret_key"]}
}

func (f *feature) producerOptions(role string, more ...producer.Option) []producer.Option {
	return append([]producer.Option{
		producer.WithNsResolver(servers()), producer.WithGroupName(f.group(role)),
		producer.WithInstanceName(f.instance(role)), producer.WithCredentials(credentials()),
		producer.WithVIPChannel(false),
	}, more...)
}

func (f *feature) producer(more ...producer.Option) rocketmq.Producer {
	p, err := rocketmq.NewProducer(f.producerOptions("send", more...)...)
	if err == nil {
		err = p.Start()
	}
	if f.failed("producer", err) {
		return nil
	}
	return p
}

type listener = func(*primitive.MessageExt) consumer.ConsumeResult

func (f *feature) consumerOptions(role string, more ...consumer.Option) []consumer.Option {
	return append([]consumer.Option{
		consumer.WithNsResolver(servers()), consumer.WithGroupName(f.group("read")),
		consumer.WithInstance(f.instance(role)), consumer.WithCredentials(credentials()),
		consumer.WithVIPChannel(false), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, more...)
}

func (f *feature) consumer(role, tags string, listen listener, more ...consumer.Option) rocketmq.PushConsumer {
	c, err := rocketmq.NewPushConsumer(f.consumerOptions(role, more...)...)
	if f.failed("consumer", err) {
		return nil
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	consume := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		result := consumer.ConsumeSuccess
		for _, message := range messages {
			result = listen(message)
		}
		return result, nil
	}
	err = c.Subscribe(f.topic(), selector, consume)
	if err == nil {
		err = c.Start()
	}
	if f.failed("consumer", err) {
		return nil
	}
	return c
}

func (f *feature) take(message *primitive.MessageExt) consumer.ConsumeResult {
	f.got(message)
	return consumer.ConsumeSuccess
}

func (f *feature) sent(key string, result *primitive.SendResult, err error) {
	if f.failed("send "+key, err) {
		return
	}
	status := [...]string{"SEND_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", "UNKNOWN"}
	say("sent", f.name, key, status[result.Status])
}

// Sends so many, one after the other.
func (f *feature) sendSync(p rocketmq.Producer, count int, edit func(int, *primitive.Message)) {
	for number := 0; number < count; number++ {
		message := f.message(number)
		edit(number, message)
		result, err := p.SendSync(context.Background(), message)
		f.sent(message.GetKeys(), result, err)
	}
}

func plain(int, *primitive.Message) {}

func (f *feature) send() {
	p, c := f.producer(), f.consumer("read", "Tag0", f.take)
	if p == nil || c == nil {
		return
	}
	f.sendSync(p, 6, plain)
	f.wait(3)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) oneway() {
	p, c := f.producer(), f.consumer("read", "*", f.take)
	if p == nil || c == nil {
		return
	}
	for number := 0; number < 3; number++ {
		f.failed("send", p.SendOneWay(context.Background(), f.message(number)))
	}
	f.wait(3)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) batch() {
	p, c := f.producer(), f.consumer("read", "*", f.take)
	if p == nil || c == nil {
		return
	}
	messages := []*primitive.Message{f.message(0), f.message(1), f.message(2)}
	result, err := p.SendSync(context.Background(), messages...)
	f.sent("all", result, err)
	f.wait(3)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) delayed() {
	p, c := f.producer(), f.consumer("read", "*", f.take)
	if p == nil || c == nil {
		return
	}
	f.sendSync(p, 3, func(number int, message *primitive.Message) { message.WithDelayTimeLevel(1 + number) })
	f.wait(3)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) ordered() {
	p := f.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	c := f.consumer("read", "*", f.take, consumer.WithConsumerOrder(true))
	if p == nil || c == nil {
		return
	}
	f.sendSync(p, 12, func(number int, message *primitive.Message) {
		message.WithShardingKey("sharding" + strconv.Itoa(number%3))
	})
	f.wait(12)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

type decisions struct{ f *feature }

// The first message is committed, the second rolled back, the third undecided until the broker asks.
func (d decisions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return [...]primitive.LocalTransactionState{
		primitive.CommitMessageState, primitive.RollbackMessageState, primitive.UnknowState,
	}[message.GetKeys()[len(message.GetKeys())-1]-'0']
}

func (d decisions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	say("checked", d.f.name, message.GetKeys())
	return primitive.CommitMessageState
}

func (f *feature) transaction() {
	p, err := rocketmq.NewTransactionProducer(decisions{f}, f.producerOptions("send")...)
	if err == nil {
		err = p.Start()
	}
	c := f.consumer("read", "*", f.take)
	if f.failed("producer", err) || c == nil {
		return
	}
	for number := 0; number < 3; number++ {
		message := f.message(number)
		result, err := p.SendMessageInTransaction(context.Background(), message)
		if f.failed("send", err) {
			continue
		}
		f.sent(message.GetKeys(), result.SendResult, nil)
	}
	f.wait(2)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) request() {
	p := f.producer()
	replies := &feature{name: "reply", keys: map[string]bool{}}
	r := replies.producer()
	c := f.consumer("read", "*", func(message *primitive.MessageExt) consumer.ConsumeResult {
		f.got(message)
		// The heartbeat by which the broker knows who asked comes a second after the start.
		time.Sleep(1200 * time.Millisecond)
		body := append([]byte("re: "), message.Body...)
		reply, err := consumer.CreateReplyMessage(message, nil)
		if !f.failed("reply", err) {
			// CreateReplyMessage of v2.1.2 reads properties from the body that it is given, and sends none.
			reply.Body = body
			result, err := r.SendSync(context.Background(), reply)
			f.sent("reply", result, err)
		}
		return consumer.ConsumeSuccess
	})
	if p == nil || c == nil || r == nil {
		return
	}
	reply, err := p.Request(context.Background(), within, f.message(0))
	if !f.failed("request", err) {
		say("got", f.name, "reply", "", string(reply.Body), "0", "")
	}
	// The reply may be here before who sent it has its answer.
	time.Sleep(settle)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
	f.failed("end", r.Shutdown())
}

func (f *feature) broadcast() {
	model := consumer.WithConsumerModel(consumer.BroadCasting)
	one := f.consumer("one", "*", f.take, model)
	two := f.consumer("two", "*", f.take, model)
	p := f.producer()
	if p == nil || one == nil || two == nil {
		return
	}
	f.sendSync(p, 3, plain)
	f.wait(6)
	f.failed("end", one.Shutdown())
	f.failed("end", two.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) pull() {
	p := f.producer()
	if p == nil {
		return
	}
	f.sendSync(p, 4, plain)
	c, err := rocketmq.NewPullConsumer(f.consumerOptions("pull")...)
	if f.failed("pull", err) {
		return
	}
	err = c.Subscribe(f.topic(), consumer.MessageSelector{Type: consumer.TAG, Expression: "*"})
	if err == nil {
		err = c.Start()
	}
	if f.failed("pull", err) {
		return
	}
	for end := time.Now().Add(within); f.count < 4 && time.Now().Before(end); {
		polled, err := c.Poll(context.Background(), time.Second)
		if consumer.IsNoNewMsgError(err) {
			continue
		}
		if f.failed("poll", err) {
			break
		}
		for _, message := range polled.GetMsgList() {
			f.got(message)
		}
		c.ACK(context.Background(), polled, consumer.ConsumeSuccess)
	}
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) retry() {
	c := f.consumer("read", "*", func(message *primitive.MessageExt) consumer.ConsumeResult {
		f.got(message)
		if message.ReconsumeTimes < 2 {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	})
	p := f.producer()
	if p == nil || c == nil {
		return
	}
	f.sendSync(p, 2, plain)
	f.wait(6)
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

// Sends one message, and says what came of it.
func (f *feature) denied() {
	p := f.producer(producer.WithRetry(0))
	if p == nil {
		return
	}
	f.sendSync(p, 1, plain)
	f.failed("end", p.Shutdown())
}

// Sends and consumes until it is told to end, and then consumes what was acknowledged.
func (f *feature) hold(ended <-chan struct{}) {
	p, c := f.producer(), f.consumer("read", "*", f.take)
	if p == nil || c == nil {
		return
	}
	acknowledged := []string{}
	for number, on := 0, true; on; number++ {
		select {
		case <-ended:
			on = false
		case <-time.After(5 * time.Millisecond):
			message := f.message(number)
			result, err := p.SendSync(context.Background(), message)
			f.sent(message.GetKeys(), result, err)
			if err == nil && result.Status == primitive.SendOK {
				acknowledged = append(acknowledged, message.GetKeys())
			}
		}
	}
	for end := time.Now().Add(within); !f.gotAll(acknowledged) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	f.failed("end", c.Shutdown())
	f.failed("end", p.Shutdown())
}

func (f *feature) gotAll(keys []string) bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	for _, key := range keys {
		if !f.keys[key] {
			return false
		}
	}
	return true
}

func main() {
	rlog.SetLogLevel("fatal")
	for _, arg := range os.Args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		args[name] = value
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var all sync.WaitGroup
	for _, name := range strings.Split(args["features"], ",") {
		f := &feature{name: name, keys: map[string]bool{}}
		run := map[string]func(){
			"send": f.send, "oneway": f.oneway, "batch": f.batch, "delayed": f.delayed, "ordered": f.ordered,
			"transaction": f.transaction, "request": f.request, "broadcast": f.broadcast, "pull": f.pull,
			"retry": f.retry, "denied": f.denied, "hold": func() { f.hold(ended) },
		}[name]
		if run == nil {
			say("error", name, "no such feature")
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			run()
		}()
	}
	all.Wait()
	say("left")
}
