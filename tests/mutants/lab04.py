"""Wrong solutions of lab 04."""

from __future__ import annotations

from .mutant import Lab, Mutant

TAKE = '        await post.send("payment.take", order, timeout=0.5)\n'
REFUSED = '    except RpcError:\n        return "refused"\n'
OTHERS = '        return "unknown" if error.may_have_happened else "not paid"\n'
CATCH = "    except PostOfficeError as error:\n" + OTHERS
TELL = '        if state == "paid":\n            await post.emit("order.paid", order)\n'
NAMES = '@message_pattern("preview")\n@message_pattern("mail.preview")\nasync'
MAIL = '    await ledger.mail(order["id"])\n'
STREAM = """            async for place in client.stream("track", number, timeout=patience):
                seen.append(place)
"""
ENDS = '    except PostOfficeError as error:\n        end = "unknown" if error.may_have_happened else "not done"\n'

MUTANTS = [
    Mutant("04.predict", "the handler never fires", {'handler": (1, "nothing")': 'handler": (0, "nothing")'},
        "found by its pattern", short=True),
    Mutant("04.predict", "emit hears of a refusal", {'emit that is refused": (0, "nothing")':
        'emit that is refused": (0, "error")'}, "no return address"),
    Mutant("04.predict", "event handlers do not answer", {
        'event handlers": (2, "answer")': 'event handlers": (0, "error")'}, "answers that it is done"),
    Mutant("04.predict", "one of two services", {
        'two services": (2, "answer")': 'two services": (1, "answer")'}, "gives everyone a copy", short=True),
    Mutant("04.predict", "a group is a copy each", {'group": (1, "answer")': 'group": (2, "answer")'}, "in a group"),
    Mutant("04.predict", "emit to nobody raises", {'emit to nobody": (0, "nothing")': 'emit to nobody": (0, "error")'},
        "is told nothing"),
    Mutant("04.predict", "send stops a stream", {'stream": (3,': 'stream": (1,'}, "goes on to its end"),
    Mutant("04.predict", "true is one", {'group": (1, "answer")': 'group": (True, "answer")'}, "in a group"),
    Mutant("04.desk", "emits the payment", {TAKE: '        await post.emit("payment.take", order)\n'},
        "the payment was emitted", short=True),
    Mutant("04.desk", "no limit", {", timeout=0.5": ""}, "timeout=0.5", short=True),
    Mutant("04.desk", "the typing error", {'emit("order.paid"': 'emit("order.payed"'}, "Which pattern has the handler"),
    Mutant("04.desk", "asks parcels", {'post.emit("order.paid", order)': 'post.send("order.paid", order)'},
        "whose answer it does not need"),
    Mutant("04.desk", "tells parcels whatever comes", {'        if state == "paid":\n    ': ""}, "a parcel went out"),
    Mutant("04.desk", "ships the unknown", {'if state == "paid":': 'if state in ("paid", "unknown"):'},
        "a parcel went out"),
    Mutant("04.desk", "silence is a no", {OTHERS: '        return "not paid"\n'}, "not a no, and not a yes"),
    Mutant("04.desk", "nothing is certain", {OTHERS: '        return "unknown"\n'}, "NoHandlerError is certain"),
    Mutant("04.desk", "no refusals", {REFUSED: ""}, "the other side's no"),
    Mutant("04.desk", "catches nothing but the no", {CATCH: ""}, "an error that the desk did not catch"),
    Mutant("04.desk", "asks again", {
        TAKE: "        for attempt in range(2):\n            try:\n"
        '                await post.send("payment.take", order, timeout=0.3)\n                break\n'
        "            except RequestTimeout:\n                if attempt:\n                    raise\n",
        "RpcError, message": "RequestTimeout, RpcError, message"}, "done twice"),
    Mutant("04.desk", "tells parcels twice", {TELL: TELL + TELL}, "done twice"),
    Mutant("04.desk", "a global order", {
        "        state = await take_payment(post, order)\n": "        global current\n        current = order\n"
        "        state = await take_payment(post, order)\n        order = current\n"}, "share a variable"),
    Mutant("04.mails", "no group", {" --group mailers": ""}, "--group, and a word", short=True),
    Mutant("04.mails", "one replica", {" --replicas 2": ""}, "--replicas 2"),
    Mutant("04.mails", "an event handler", {NAMES: '@event_pattern("preview")\n@event_pattern("mail.preview")\nasync'},
        "needs a @message_pattern", short=True),
    Mutant("04.mails", "the new name only", {NAMES: '@message_pattern("mail.preview")\nasync'}, "the old name, and"),
    Mutant("04.mails", "the old name only", {NAMES: '@message_pattern("preview")\nasync'}, "the old name, and"),
    Mutant("04.mails", "a note in memory", {
        " --group mailers": "", MAIL: f'    if order["id"] in seen:\n        return\n    seen.add(order["id"])\n{MAIL}',
        "from classroom.ledger": "seen = set()\nfrom classroom.ledger"}, "--group, and a word"),
    Mutant("04.mails", "mails in the background", {MAIL: "    pass\n"}, "ends with `await ledger.mail"),
    Mutant("04.mails", "one customer only", {MAIL: MAIL.replace('order["id"]', "7")}, "ends with `await ledger.mail"),
    Mutant("04.follow", "send", {
        STREAM: '            seen.append(await client.send("track", number, timeout=patience))\n'},
        "the last value only", short=True),
    Mutant("04.follow", "no limit", {", timeout=patience": ""}, "without a limit of `patience`", short=True),
    Mutant("04.follow", "forgets what it saw", {ENDS: ENDS + "        seen = []\n"}, "keep the list outside"),
    Mutant("04.follow", "a refusal is an end", {'end = "refused"': 'end = "complete"'}, "which error means which end"),
    Mutant("04.follow", "all is unknown", {ENDS: '    except PostOfficeError:\n        end = "unknown"\n'},
        "which error means which end"),
    Mutant("04.follow", "catches nothing", {ENDS: ""}, "which error means which end"),
    Mutant("04.follow", "connects outside", {
        "    try:\n        async with await Client.connect(url) as client:\n":
        "    async with await Client.connect(url) as client:\n        try:\n",
        "    except RpcError:\n        end": "        except RpcError:\n            end",
        "    except PostOfficeError as error:\n        end":
        "        except PostOfficeError as error:\n            end",
        }, "connecting belongs into the `try`"),
    Mutant("04.follow", "the first three", {"seen.append(place)\n": "seen.append(place)\n"
        "                if len(seen) == 1:\n                    break\n"}, "send gives the last value only"),
]  # fmt: skip

LAB = Lab("04", MUTANTS, {
    "04.predict": "still to do: emit to a message handler",
    "04.desk": "Which pattern has the handler",
    "04.mails": "needs a @message_pattern",
    "04.follow": "write this part first",
}, ("start", "payments", "parcels"))  # fmt: skip
