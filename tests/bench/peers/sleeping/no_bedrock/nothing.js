// In place of what mcsleepingserverstarter needs for Bedrock, whose versions are not in the registry any more. With
// `bedrockPort: 0` nothing of it is used.
class Nothing {}

module.exports = { default: Nothing, EventManager: Nothing, RaknetConnectEvent: Nothing, RaknetEncapsulatedPacketEvent: Nothing }
