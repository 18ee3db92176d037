// Stands for decoders that only workers have.
export default undefined;
