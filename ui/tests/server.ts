import { setupServer } from "msw/node";

/** The API as the tests tell it; a request that no handler expects fails its test. */
export const server = setupServer();

export const origin = "http://vibeflow.test";
