"""HTTP/1.1 as pure functions of bytes: heads, framing, bodies, replies. No I/O, no clock, no dice.

An ambiguous message is refused, never repaired: two readers of one message must not come to two results
(request smuggling and response splitting live in that gap). Sources: RFC 9110 and RFC 9112.
"""
