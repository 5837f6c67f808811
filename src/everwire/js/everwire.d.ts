/** How messages come: as a WebSocket, or in the answers to requests. */
export type Transport = "websocket" | "http_stream" | "sse" | "long_poll";

/** What all classes of this module are: a WebSocket, whatever it rides on. */
declare abstract class TunneledWebSocket extends EventTarget implements WebSocket {
    static readonly CONNECTING: 0;
    static readonly OPEN: 1;
    static readonly CLOSING: 2;
    static readonly CLOSED: 3;

    /**
     * @param url Where the WebSocket is: `ws:`, `wss:`, `http:`, `https:`, or relative to the page.
     * @param protocols The subprotocols that are offered.
     * @throws SyntaxError (a DOMException) if one of them makes no sense.
     */
    constructor(url: string | URL, protocols?: string | string[]);

    readonly CONNECTING: 0;
    readonly OPEN: 1;
    readonly CLOSING: 2;
    readonly CLOSED: 3;
    readonly url: string;
    readonly readyState: 0 | 1 | 2 | 3;
    readonly bufferedAmount: number;
    readonly extensions: string;
    readonly protocol: string;
    /** What it rides on. WebSocket has no such attribute. */
    readonly transport: Transport;
    binaryType: BinaryType;

    onopen: ((this: WebSocket, event: Event) => any) | null;
    onmessage: ((this: WebSocket, event: MessageEvent) => any) | null;
    onerror: ((this: WebSocket, event: Event) => any) | null;
    onclose: ((this: WebSocket, event: CloseEvent) => any) | null;

    /** @throws InvalidStateError (a DOMException) while it is connecting. */
    send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void;
    /** @throws InvalidAccessError, SyntaxError (DOMExceptions) if code or reason may not be sent. */
    close(code?: number, reason?: string): void;

    addEventListener<K extends keyof WebSocketEventMap>(
        type: K,
        listener: (this: WebSocket, event: WebSocketEventMap[K]) => any,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<K extends keyof WebSocketEventMap>(
        type: K,
        listener: (this: WebSocket, event: WebSocketEventMap[K]) => any,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject,
        options?: boolean | EventListenerOptions,
    ): void;
}

/** Each message, or a few at a time, is the answer to a request: what gets through wherever HTTP does. */
export declare class PollingWebSocket extends TunneledWebSocket {}

/** Messages come as server-sent events: for proxies that pass on nothing but those as they come. */
export declare class EventSourceWebSocket extends TunneledWebSocket {}

/** Messages come as the body of one long answer. */
export declare class StreamingWebSocket extends TunneledWebSocket {}

/**
 * A real WebSocket where one can be opened, else a tunnel: as a stream, as server-sent events or by polling.
 *
 * What worked is remembered for the page's session, by host.
 */
export declare class FallbackWebSocket extends TunneledWebSocket {
    /** Milliseconds that a WebSocket may take to open, and a stream to begin to come; 5000. */
    static timeout: number;
    /** Milliseconds for which a host is not tried with a WebSocket again when a tunnel was needed; 600000. */
    static remember: number;
    /** The ways in which messages may come in a tunnel, best first. */
    static transports: Exclude<Transport, "websocket">[];
    /** The class that is tried first; null: none. */
    static WebSocket: { new (url: string, protocols: string[]): WebSocket } | null;
}
